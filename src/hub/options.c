#include "config.h"

#include "hub/options.h"

#include "base/macros.h"

#include <string.h>

#define DEFAULT_EXPIRY "24h"
#define DURATION_MAX_S (G_GINT64_CONSTANT(100) * 366 * 86400)
#define DOMAIN_MAX 190 /* leaves room for a label of 63 in 255 */

static const char summary[] =
	"Commands:\n"
	"  (none)                 serve management, signal and STUN\n"
	"  key create             make a setup key and print it\n"
	"  key list               list setup keys\n"
	"  key revoke ID          no new machine can join with it\n"
	"  peer list              list machines\n"
	"  peer remove NAME|KEY   take a machine out of the network\n"
	"  version\n"
	"\n"
	"Every command takes --config-dir. netbird-hub(8) has the details.";

/* Raw values, as GOption leaves them. */
typedef struct {
	char *dir, *listen, *public_url, *tls_cert, *tls_key, *dns_domain, *lazy, *log_level, *expires, *name;
	int stun;
	gboolean reusable, json, version;
	char **rest;
} Raw;

static void raw_clear(Raw *raw)
{
	g_free(raw->dir);
	g_free(raw->listen);
	g_free(raw->public_url);
	g_free(raw->tls_cert);
	g_free(raw->tls_key);
	g_free(raw->dns_domain);
	g_free(raw->lazy);
	g_free(raw->log_level);
	g_free(raw->expires);
	g_free(raw->name);
	g_strfreev(raw->rest);
}

static NBH_PRINTF(2, 3) gboolean usage(GError **error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	g_propagate_error(error, g_error_new_valist(G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, fmt, args));
	va_end(args);
	return FALSE;
}

gboolean nbh_hub_duration_parse(const char *text, gint64 *ret_seconds)
{
	static const struct {
		char unit;
		gint64 seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	guint64 number;
	char *rest;

	if (strcmp(text, "never") == 0) {
		*ret_seconds = 0;
		return TRUE;
	}
	if (!g_ascii_isdigit(*text))
		return FALSE;
	number = g_ascii_strtoull(text, &rest, 10);
	if (number == 0 || strlen(rest) != 1)
		return FALSE;
	for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
		if (*rest != units[i].unit)
			continue;
		if (number > (guint64)(DURATION_MAX_S / units[i].seconds))
			return FALSE;
		*ret_seconds = (gint64)number * units[i].seconds;
		return TRUE;
	}
	return FALSE;
}

char *nbh_hub_domain_parse(const char *text)
{
	g_autofree char *domain = g_ascii_strdown(text, -1);
	gsize len = strlen(domain);

	if (len > 0 && domain[len - 1] == '.')
		domain[--len] = '\0';
	if (len > DOMAIN_MAX || !strchr(domain, '.'))
		return NULL;
	for (gsize i = 0; i < len; i++) {
		gboolean at_start = i == 0 || domain[i - 1] == '.';
		gboolean at_end = i + 1 == len || domain[i + 1] == '.';

		if (domain[i] == '.' ? at_start
				     : !g_ascii_isalnum(domain[i]) &&
					       (domain[i] != '-' || at_start || at_end))
			return NULL;
	}
	return g_steal_pointer(&domain);
}

static gboolean choose_command(const Raw *raw, NbhHubOptions *options, GError **error)
{
	static const struct {
		const char *noun, *verb;
		NbhHubCommand command;
		gboolean operand;
	} commands[] = {
		{ "key", "create", NBH_HUB_KEY_CREATE, FALSE },
		{ "key", "list", NBH_HUB_KEY_LIST, FALSE },
		{ "key", "revoke", NBH_HUB_KEY_REVOKE, TRUE },
		{ "peer", "list", NBH_HUB_PEER_LIST, FALSE },
		{ "peer", "remove", NBH_HUB_PEER_REMOVE, TRUE },
	};
	guint n = raw->rest ? g_strv_length(raw->rest) : 0;
	g_autofree char *given = n ? g_strjoinv(" ", raw->rest) : NULL;

	if (n == 0) {
		options->command = raw->version ? NBH_HUB_VERSION : NBH_HUB_SERVE;
		return TRUE;
	}
	if (n == 1 && strcmp(raw->rest[0], "version") == 0) {
		options->command = NBH_HUB_VERSION;
		return TRUE;
	}
	for (gsize i = 0; n >= 2 && i < G_N_ELEMENTS(commands); i++) {
		if (strcmp(raw->rest[0], commands[i].noun) != 0 ||
		    strcmp(raw->rest[1], commands[i].verb) != 0)
			continue;
		if (n != (commands[i].operand ? 3 : 2))
			return usage(error, "\"%s\": %s", given,
				     commands[i].operand ? "exactly one operand is needed"
							 : "too many words");
		options->command = commands[i].command;
		options->operand = g_strdup(raw->rest[2]);
		return TRUE;
	}
	return usage(error, "unknown command \"%s\"; see netbird-hub --help", given);
}

static gboolean check_values(Raw *raw, NbhHubOptions *options, GError **error)
{
	options->dir = raw->dir ? g_steal_pointer(&raw->dir) : g_strdup(NBH_HUB_DEFAULT_DIR);
	options->public_url = g_steal_pointer(&raw->public_url);
	options->tls_cert = g_steal_pointer(&raw->tls_cert);
	options->tls_key = g_steal_pointer(&raw->tls_key);
	options->log_level = g_steal_pointer(&raw->log_level);
	options->name = raw->name ? g_steal_pointer(&raw->name) : g_strdup("");
	options->reusable = raw->reusable;
	options->json = raw->json;
	if (!g_utf8_validate(options->name, -1, NULL) || strlen(options->name) > 100)
		return usage(error, "--name: at most 100 bytes of UTF-8");
	if (raw->listen) {
		options->hub.has_listen = TRUE;
		if (nbh_endpoint_parse(raw->listen, &options->hub.listen) < 0)
			return usage(error, "--listen %s: give ADDRESS:PORT, e.g. 0.0.0.0:8080 or [::]:8080",
				     raw->listen);
	}
	if (!options->tls_cert != !options->tls_key)
		return usage(error, "--tls-cert and --tls-key: give both or none");
	if (raw->stun < 0 || raw->stun > G_MAXUINT16)
		return usage(error, "--stun: a UDP port from 1 to 65535, or 0 for none");
	options->hub.stun_port = (guint16)raw->stun;
	if (raw->lazy && strcmp(raw->lazy, "on") != 0 && strcmp(raw->lazy, "off") != 0)
		return usage(error, "--lazy %s: on or off", raw->lazy);
	options->hub.lazy = g_strcmp0(raw->lazy, "on") == 0;
	options->dns_domain =
		nbh_hub_domain_parse(raw->dns_domain ? raw->dns_domain : NBH_HUB_DEFAULT_DOMAIN);
	if (!options->dns_domain)
		return usage(error, "--dns-domain %s: a name with a dot, such as " NBH_HUB_DEFAULT_DOMAIN,
			     raw->dns_domain);
	if (!nbh_hub_duration_parse(raw->expires ? raw->expires : DEFAULT_EXPIRY,
				    &options->expires_in_s))
		return usage(error, "--expires %s: a number with s, m, h, d or w, or \"never\"",
			     raw->expires);
	options->hub.dir = options->dir;
	options->hub.public_url = options->public_url;
	options->hub.tls_cert = options->tls_cert;
	options->hub.tls_key = options->tls_key;
	options->hub.dns_domain = options->dns_domain;
	return TRUE;
}

gboolean nbh_hub_options_parse(int argc, char **argv, NbhHubOptions *ret_options, GError **error)
{
	Raw raw = { .stun = NBH_HUB_DEFAULT_STUN_PORT };
	const GOptionEntry entries[] = {
		{ "config-dir", 0, 0, G_OPTION_ARG_FILENAME, &raw.dir,
		  "Database and key (" NBH_HUB_DEFAULT_DIR ")", "DIR" },
		{ "listen", 0, 0, G_OPTION_ARG_STRING, &raw.listen,
		  "Where to serve (all addresses, port 8080)", "ADDR:PORT" },
		{ "public-url", 0, 0, G_OPTION_ARG_STRING, &raw.public_url,
		  "How clients reach it, e.g. https://hub.example.com:8080", "URL" },
		{ "tls-cert", 0, 0, G_OPTION_ARG_FILENAME, &raw.tls_cert,
		  "Certificate and intermediates (PEM); read again when it changes", "FILE" },
		{ "tls-key", 0, 0, G_OPTION_ARG_FILENAME, &raw.tls_key, "Its private key (PEM)", "FILE" },
		{ "stun", 0, 0, G_OPTION_ARG_INT, &raw.stun, "UDP port, 0 for none (3478)", "PORT" },
		{ "dns-domain", 0, 0, G_OPTION_ARG_STRING, &raw.dns_domain,
		  "Domain of the machines' names (" NBH_HUB_DEFAULT_DOMAIN ")", "NAME" },
		{ "lazy", 0, 0, G_OPTION_ARG_STRING, &raw.lazy,
		  "Official clients connect only when there is traffic (off)", "on|off" },
		{ "log-level", 0, 0, G_OPTION_ARG_STRING, &raw.log_level,
		  "error, warn, notice, info or debug ($NB_LOG_LEVEL, info)", "LEVEL" },
		{ "reusable", 0, 0, G_OPTION_ARG_NONE, &raw.reusable,
		  "key create: for any number of machines", NULL },
		{ "expires", 0, 0, G_OPTION_ARG_STRING, &raw.expires,
		  "key create: e.g. 90s, 15m, 24h, 7d, never (" DEFAULT_EXPIRY ")", "TIME" },
		{ "name", 0, 0, G_OPTION_ARG_STRING, &raw.name, "key create: a note for key list", "TEXT" },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &raw.json, "key list, peer list: JSON", NULL },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &raw.version, "As the command version", NULL },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.rest, NULL, NULL },
		{ NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) context = g_option_context_new("[COMMAND]");
	g_auto(GStrv) words = g_new0(char *, (gsize)argc + 1);
	NbhHubOptions options = { 0 };
	gboolean ok;

	for (int i = 0; i < argc; i++)
		words[i] = g_strdup(argv[i]);
	g_option_context_set_summary(context, summary);
	g_option_context_add_main_entries(context, entries, NULL);
	ok = g_option_context_parse_strv(context, &words, error) &&
	     choose_command(&raw, &options, error) && check_values(&raw, &options, error);
	raw_clear(&raw);
	if (ok)
		*ret_options = options;
	else
		nbh_hub_options_clear(&options);
	return ok;
}

void nbh_hub_options_clear(NbhHubOptions *options)
{
	g_free(options->dir);
	g_free(options->public_url);
	g_free(options->tls_cert);
	g_free(options->tls_key);
	g_free(options->dns_domain);
	g_free(options->log_level);
	g_free(options->name);
	g_free(options->operand);
}
