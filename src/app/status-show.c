#include "config.h"

#include "app/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/engine.h"
#include "base/atomicfile.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/text.h"

/* printf() for a terminal: the file is not ours alone, and nothing in it may command the terminal. */
static void G_GNUC_PRINTF(1, 2) say(const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);

	nbh_text_make_printable(text, "\n");
	fputs(text, stdout);
}

static const char *text_at(const struct nbh_json_value *object, const char *key)
{
	const char *text = nbh_json_string(nbh_json_get(object, key));

	return text ? text : "";
}

static gint64 int_at(const struct nbh_json_value *object, const char *key)
{
	int64_t value = 0;

	return nbh_json_int(nbh_json_get(object, key), &value) ? value : 0;
}

static gboolean bool_at(const struct nbh_json_value *object, const char *key)
{
	bool value = false;

	return nbh_json_bool(nbh_json_get(object, key), &value) && value;
}

static void show_server(const struct nbh_json_value *root, const char *key, const char *title)
{
	const struct nbh_json_value *server = nbh_json_get(root, key);
	const char *error = text_at(server, "error"), *url = text_at(server, "url");
	gboolean up = bool_at(server, "connected");
	gsize len = strlen(key);

	say("%s: %s%s%s", title, up ? "Connected" : "Disconnected", !url[0] ? "" : up ? " to " : " from ", url);

	if (strncmp(error, key, len) == 0 && strncmp(error + len, ": ", 2) == 0)
		error += len + 2; /* it is named already */

	if (error[0])
		say(", reason: %s", error);

	say("\n");
}

static void show_peer_detail(const struct nbh_json_value *peer)
{
	const struct nbh_json_value *types = nbh_json_get(peer, "iceCandidateType");
	const struct nbh_json_value *ends = nbh_json_get(peer, "iceCandidateEndpoint");

	say("\n %s:\n", text_at(peer, "fqdn")[0] ? text_at(peer, "fqdn") : text_at(peer, "publicKey"));
	say("  NetBird IP: %s\n", text_at(peer, "netbirdIp"));
	say("  Public key: %s\n", text_at(peer, "publicKey"));
	say("  Status: %s (%s)\n", text_at(peer, "status"), text_at(peer, "state"));
	say("  Connection type: %s\n", text_at(peer, "connectionType"));

	if (text_at(peer, "whyNotDirect")[0])
		say("  Not direct because: %s\n", text_at(peer, "whyNotDirect"));

	say("  ICE candidate (Local/Remote): %s/%s\n", text_at(types, "local"), text_at(types, "remote"));
	say("  ICE candidate endpoints (Local/Remote): %s/%s\n", text_at(ends, "local"), text_at(ends, "remote"));
	say("  WireGuard endpoint: %s\n", text_at(peer, "endpoint"));
	say("  Last connection update: %s\n", text_at(peer, "lastStatusUpdate"));
	say("  Last WireGuard handshake: %s\n", text_at(peer, "lastWireguardHandshake"));
	say("  Transfer status (received/sent): %lld B/%lld B\n", (long long)int_at(peer, "transferReceived"),
	    (long long)int_at(peer, "transferSent"));
	say("  Agent version: %s\n", text_at(peer, "agentVersion"));
}

static void show_peer_line(const struct nbh_json_value *peer)
{
	const struct nbh_json_value *ends = nbh_json_get(peer, "iceCandidateEndpoint");
	const char *why = text_at(peer, "whyNotDirect");
	const char *name = text_at(peer, "fqdn")[0] ? text_at(peer, "fqdn") : text_at(peer, "publicKey");

	say("  %-40s %-16s %s", name, text_at(peer, "netbirdIp"), text_at(peer, "status"));

	if (why[0])
		say(", not direct: %s", why);
	else if (text_at(peer, "endpoint")[0])
		say(", direct to %s", text_at(peer, "endpoint"));
	else if (text_at(ends, "remote")[0])
		say(", direct to %s", text_at(ends, "remote")); /* chosen; WireGuard gets it in a moment */

	say("\n");
}

static void show_peers(const struct nbh_json_value *root, gboolean detail)
{
	const struct nbh_json_value *peers = nbh_json_get(root, "peers");
	const struct nbh_json_value *list = nbh_json_get(peers, "details");

	say("Peers count: %lld/%lld Connected\n", (long long)int_at(peers, "connected"),
	    (long long)int_at(peers, "total"));

	for (size_t i = 0; i < nbh_json_length(list); i++) {
		if (detail)
			show_peer_detail(nbh_json_at(list, i));
		else
			show_peer_line(nbh_json_at(list, i));
	}

	if (detail && nbh_json_length(list) > 0)
		say("\n");
}

static void show_notes(const struct nbh_json_value *root)
{
	const struct nbh_json_value *notes = nbh_json_get(root, "notes");

	for (size_t i = 0; i < nbh_json_length(notes); i++) {
		const char *note = nbh_json_string(nbh_json_at(notes, i));

		say("Note: %s\n", note ? note : "");
	}
}

/* Nobody can write status.json then: what it says may be old. */
static void show_obstacle(int dirfd, const char *dir, FILE *out)
{
	struct statvfs fs;
	struct stat st;

	if (fstatvfs(dirfd, &fs) < 0 || fstat(dirfd, &st) < 0)
		return;

	if ((fs.f_flag & ST_RDONLY) || !(st.st_mode & S_IWUSR))
		fprintf(out, "Warning: %s is read-only; tunnels stay, what follows may be old\n", dir);
	else if (fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0))
		fprintf(out, "Warning: the file system of %s is full; tunnels stay, what follows may be old\n", dir);
}

/* Which of the programs that run filter their system calls. */
static void show_seccomp(const struct nbh_json_value *seccomp)
{
	static const char *const keys[] = { "helper", "ice", "wg" };
	g_autoptr(GString) with = g_string_new(NULL), without = g_string_new(NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
		GString *list = bool_at(seccomp, keys[i]) ? with : without;

		if (nbh_json_get(seccomp, keys[i]))
			g_string_append_printf(list, "%snetbird-%s", list->len ? ", " : "", keys[i]);
	}

	say("System calls: %s%s%s%s\n", with->len ? "filtered in " : "not filtered", with->str,
	    with->len && without->len ? ", not in " : "", with->len ? without->str : "");
}

static void show(const struct nbh_json_value *root, gboolean running, gboolean detail)
{
	const struct nbh_json_value *wg = nbh_json_get(root, "wireguard");
	const struct nbh_json_value *ice = nbh_json_get(root, "ice");

	const char *status = text_at(root, "daemonStatus");

	say("Daemon: %s%s, version %s\n", running ? status : "not running",
	    strcmp(status, "NeedsLogin") == 0      ? ", this host has to log in again" :
	    running && strcmp(status, "Idle") == 0 ? " (netbird-helper up connects)" :
	                                             "",
	    text_at(root, "daemonVersion"));

	if (!running)
		say("What follows was so at %s; tunnels stay without the daemon\n", text_at(root, "updatedAt"));

	show_server(root, "management", "Management");
	show_server(root, "signal", "Signal");
	say("ICE: %s%s\n",
	    !text_at(ice, "backend")[0]                        ? "not available" :
	    strcmp(text_at(ice, "backend"), "host-tun") == 0 ? "in the host's network, by " :
							       "isolated by ",
	    text_at(ice, "backend"));

	if (text_at(ice, "error")[0])
		say("ICE error: %s\n", text_at(ice, "error"));

	say("WireGuard: interface %s %s, port %lld, %s%s%s\n", text_at(wg, "interface"),
	    bool_at(wg, "up") ? "up" : "down", (long long)int_at(root, "wireguardPort"),
	    !text_at(wg, "backend")[0]           ? "not started" :
	    bool_at(root, "usesKernelInterface") ? "kernel" :
	                                           "user space",
	    text_at(wg, "error")[0] ? ", error: " : "", text_at(wg, "error"));

	show_seccomp(nbh_json_get(root, "seccomp"));

	if (text_at(wg, "publishError")[0])
		say("Publishing failed: %s\n", text_at(wg, "publishError"));

	say("FQDN: %s\n", text_at(root, "fqdn"));
	say("NetBird IP: %s\n", text_at(root, "netbirdIp"));
	show_peers(root, detail);
	show_notes(root);
}

gboolean nbh_status_is_idle(int dirfd)
{
	nbh_cleanup_free char *text = NULL;
	struct nbh_why why = { "" };
	struct nbh_json *doc;
	gboolean is_idle;
	size_t len;

	if (nbh_trustedfile_read(dirfd, NBH_STATUS_NAME, NBH_STATUSFILE_MAX_BYTES, &text, &len, &why) < 0)
		return FALSE;

	if (nbh_json_parse(text, len, &doc, &why) < 0)
		return FALSE;

	is_idle = strcmp(text_at(nbh_json_root(doc), "daemonStatus"), "Idle") == 0 &&
	          !bool_at(nbh_json_get(nbh_json_root(doc), "wireguard"), "up");
	nbh_json_free(doc);
	return is_idle;
}

static char *replace_all(char *text, const char *what, const char *with)
{
	g_auto(GStrv) parts = g_strsplit(text, what, -1);

	g_free(text);
	return g_strjoinv(with, parts);
}

/* A status that nobody keeps up to date must not look alive: killed, the helper wrote no last one. */
static char *as_stopped(const char *text)
{
	char *out = g_strdup(text);

	out = replace_all(out, "\"daemonStatus\": \"Connected\"", "\"daemonStatus\": \"Idle\"");
	out = replace_all(out, "\"daemonStatus\": \"Connecting\"", "\"daemonStatus\": \"Idle\"");
	return replace_all(out, "\"connected\": true", "\"connected\": false"); /* the servers */
}

int nbh_status_show(const char *dir, gboolean json, gboolean detail)
{
	nbh_cleanup_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	nbh_cleanup_free char *text = NULL;
	struct nbh_why why = { "" };
	struct nbh_json *doc;
	g_autofree char *out = NULL;
	gboolean running;
	size_t len;
	int r;

	if (dirfd < 0) {
		fprintf(stderr, "netbird-helper: %s: %s%s\n", dir, g_strerror(errno),
		        errno == ENOENT ? "; netbird-helper login makes it, --config-dir names another one" : "");
		return errno == EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
	}

	show_obstacle(dirfd, dir, json ? stderr : stdout);
	r = nbh_trustedfile_read(dirfd, NBH_STATUS_NAME, NBH_STATUSFILE_MAX_BYTES, &text, &len, &why);

	if (r < 0) {
		if (r == -ENOENT)
			fprintf(stderr, "netbird-helper: nothing runs or ran on %s; start it with: netbird-helper up --config-dir %s\n",
			        dir, dir);
		else
			fprintf(stderr, "netbird-helper: %s\n", why.text);

		return NBH_EXIT_FAILURE;
	}

	running = nbh_lock_holder(dirfd, NBH_LOCK_HELPER) != 0;

	out = running ? g_strdup(text) : as_stopped(text);

	if (json) {
		nbh_text_make_printable(out, "\n");
		fputs(out, stdout);
		return running ? NBH_EXIT_OK : NBH_EXIT_FAILURE;
	}

	r = nbh_json_parse(out, strlen(out), &doc, &why);

	if (r < 0) {
		fprintf(stderr, "netbird-helper: %s: %s\n", NBH_STATUS_NAME, why.text);
		return NBH_EXIT_FAILURE;
	}

	show(nbh_json_root(doc), running, detail);
	nbh_json_free(doc);
	return running ? NBH_EXIT_OK : NBH_EXIT_FAILURE;
}
