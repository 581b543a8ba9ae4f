/*
 * ICE candidates as NetBird signals them (netbird-wire.md 3.4): text in and out, our own list, the
 * bounded set of a peer's, and which local addresses may be told. Everything that comes from a
 * peer is parsed here by an own strict parser; libnice's never sees foreign text.
 */
#include "config.h"

#include "core/candidate.h"

#include <stdio.h>
#include <string.h>

#define TOKENS_MAX 64

/* RFC 8445 section 5.1.2.1; 120 for host because libnice's own candidate has it: ice-port.md 4. */
#define TYPE_PREFERENCE_HOST 120u
#define TYPE_PREFERENCE_SRFLX 100u
#define LOCAL_PREFERENCE_BASE 0x2000u

static const char *const type_names[] = {
	[NBH_CANDIDATE_HOST] = "host",
	[NBH_CANDIDATE_SRFLX] = "srflx",
	[NBH_CANDIDATE_PRFLX] = "prflx",
	[NBH_CANDIDATE_RELAY] = "relay",
};
G_STATIC_ASSERT(G_N_ELEMENTS(type_names) == NBH_CANDIDATE_N_TYPES);

const char *nbh_candidate_type_name(NbhCandidateType type)
{
	return (guint)type < NBH_CANDIDATE_N_TYPES ? type_names[type] : "?";
}

/* One word of the text, not terminated. */
typedef struct {
	const char *text;
	gsize len;
} Word;

static gboolean word_is(const Word *word, const char *text)
{
	return word->len == strlen(text) && memcmp(word->text, text, word->len) == 0;
}

static gboolean refuse(struct nbh_why *why, const char *field, const Word *word, const char *what)
{
	nbh_why_set(why, "candidate: %s \"%.*s\": %s", field, (int)MIN(word->len, 60), word->text, what);
	return FALSE;
}

/*
 * Splits at single spaces. A word is empty only where two spaces meet, which is an error; so is
 * anything but printable ASCII, whatever field it would be in.
 */
static gboolean split(const char *text, Word *words, gsize *ret_n, struct nbh_why *why)
{
	gsize len = strnlen(text, NBH_CANDIDATE_TEXT_MAX_BYTES);
	gsize n = 0, start = 0;

	if (len >= NBH_CANDIDATE_TEXT_MAX_BYTES) {
		nbh_why_set(why, "candidate: longer than %d bytes", NBH_CANDIDATE_TEXT_MAX_BYTES - 1);
		return FALSE;
	}

	for (gsize i = 0; i <= len; i++) {
		if (i < len && (text[i] < 0x20 || text[i] > 0x7e)) {
			nbh_why_set(why, "candidate: byte 0x%02x at offset %" G_GSIZE_FORMAT, (guint)(guchar)text[i], i);
			return FALSE;
		}
		if (i < len && text[i] != ' ')
			continue;
		if (i == start) {
			nbh_why_set(why, "candidate: empty word at offset %" G_GSIZE_FORMAT, i);
			return FALSE;
		}
		if (n == TOKENS_MAX) {
			nbh_why_set(why, "candidate: more than %d words", TOKENS_MAX);
			return FALSE;
		}
		words[n++] = (Word){ text + start, i - start };
		start = i + 1;
	}

	*ret_n = n;
	return TRUE;
}

static gboolean is_ice_text(const Word *word)
{
	for (gsize i = 0; i < word->len; i++) {
		if (!g_ascii_isalnum(word->text[i]) && word->text[i] != '+' && word->text[i] != '/')
			return FALSE;
	}
	return word->len > 0;
}

static gboolean parse_number(const Word *word, gsize max_digits, guint64 min, guint64 max, guint64 *ret_value)
{
	guint64 value = 0;

	if (word->len == 0 || word->len > max_digits)
		return FALSE;
	for (gsize i = 0; i < word->len; i++) {
		if (!g_ascii_isdigit(word->text[i]))
			return FALSE;
		value = value * 10 + (guint64)(word->text[i] - '0');
	}
	if (value < min || value > max)
		return FALSE;

	*ret_value = value;
	return TRUE;
}

/* A literal; the zone of an IPv6 address is cut, as the official client does. */
static gboolean parse_address(const Word *word, struct nbh_addr *ret_addr)
{
	const char *zone = memchr(word->text, '%', word->len);
	gsize len = zone ? (gsize)(zone - word->text) : word->len;
	char text[NBH_ADDR_TEXT_MAX];
	struct nbh_addr addr;

	if (len >= sizeof(text))
		return FALSE;

	memcpy(text, word->text, len);
	text[len] = '\0';
	if (nbh_addr_parse(text, &addr) < 0)
		return FALSE;
	if (zone && addr.family != AF_INET6)
		return FALSE;

	*ret_addr = addr;
	return TRUE;
}

static gboolean parse_type(const Word *word, NbhCandidateType *ret_type)
{
	for (guint i = 0; i < NBH_CANDIDATE_N_TYPES; i++) {
		if (word_is(word, type_names[i])) {
			*ret_type = (NbhCandidateType)i;
			return TRUE;
		}
	}
	return FALSE;
}

static gboolean parse_target(const Word *address, const Word *port, NbhCandidate *candidate, struct nbh_why *why)
{
	struct nbh_addr addr;
	guint64 number;

	if (!parse_address(address, &addr))
		return refuse(why, "address", address, "not an IP address");
	if (nbh_addr_unfit(&addr))
		return refuse(why, "address", address, nbh_addr_unfit(&addr));
	if (!parse_number(port, 5, 1, 65535, &number))
		return refuse(why, "port", port, "not within 1-65535");

	candidate->endpoint = (struct nbh_endpoint){ .addr = addr, .port = (guint16)number };
	return TRUE;
}

/* "raddr A rport P" if it is there. Returns the number of words used, -1 after a refusal. */
static int parse_related(const Word *words, gsize n, NbhCandidate *candidate, struct nbh_why *why)
{
	struct nbh_addr addr;
	guint64 port;

	if (n == 0 || !word_is(&words[0], "raddr"))
		return 0;
	if (n < 4 || !word_is(&words[2], "rport")) {
		nbh_why_set(why, "candidate: raddr without rport");
		return -1;
	}
	if (!parse_address(&words[1], &addr)) {
		refuse(why, "raddr", &words[1], "not an IP address");
		return -1;
	}
	if (!parse_number(&words[3], 5, 0, 65535, &port)) {
		refuse(why, "rport", &words[3], "not within 0-65535");
		return -1;
	}

	candidate->related = (struct nbh_endpoint){ .addr = addr, .port = (guint16)port };
	return 4;
}

/* Name and value pairs; a last name without a value is tolerated. */
static gboolean parse_extensions(const Word *words, gsize n, NbhCandidate *candidate, struct nbh_why *why)
{
	for (gsize i = 0; i + 1 < n; i += 2) {
		const Word *value = &words[i + 1];

		if (word_is(&words[i], "cid")) {
			candidate->has_cid = TRUE;
		} else if (word_is(&words[i], "ufrag")) {
			if (!is_ice_text(value) || value->len > NBH_ICE_UFRAG_MAX)
				return refuse(why, "ufrag", value, "not an ICE ufrag");
			memcpy(candidate->ufrag, value->text, value->len);
			candidate->ufrag[value->len] = '\0';
		}
	}
	return TRUE;
}

/* The first eight words, which every candidate has. */
static gboolean parse_fixed(const Word *words, NbhCandidate *candidate, struct nbh_why *why)
{
	guint64 number;

	if (!is_ice_text(&words[0]) || words[0].len >= sizeof(candidate->foundation))
		return refuse(why, "foundation", &words[0], "not 1-32 ICE characters");
	if (!parse_number(&words[1], 5, 1, 1, &number))
		return refuse(why, "component", &words[1], "must be 1");
	if (words[2].len != 3 || g_ascii_strncasecmp(words[2].text, "udp", 3) != 0)
		return refuse(why, "transport", &words[2], "must be udp");
	if (!parse_number(&words[3], 10, 1, G_MAXUINT32, &number))
		return refuse(why, "priority", &words[3], "not within 1-4294967295");

	memcpy(candidate->foundation, words[0].text, words[0].len);
	candidate->priority = (guint32)number;
	if (!parse_target(&words[4], &words[5], candidate, why))
		return FALSE;

	if (!word_is(&words[6], "typ"))
		return refuse(why, "word", &words[6], "must be \"typ\"");
	if (!parse_type(&words[7], &candidate->type))
		return refuse(why, "type", &words[7], "not host, srflx, prflx or relay");
	return TRUE;
}

gboolean nbh_candidate_parse(const char *text, NbhCandidate *ret_candidate, struct nbh_why *why)
{
	NbhCandidate candidate = { 0 };
	Word words[TOKENS_MAX];
	gsize n;
	int used;

	if (g_str_has_prefix(text, "candidate:"))
		text += strlen("candidate:");
	if (!split(text, words, &n, why))
		return FALSE;
	if (n < 8) {
		nbh_why_set(why, "candidate: only %" G_GSIZE_FORMAT " words", n);
		return FALSE;
	}
	if (!parse_fixed(words, &candidate, why))
		return FALSE;

	used = parse_related(words + 8, n - 8, &candidate, why);
	if (used < 0)
		return FALSE;
	if (!parse_extensions(words + 8 + used, n - 8 - (gsize)used, &candidate, why))
		return FALSE;

	*ret_candidate = candidate;
	return TRUE;
}

const char *nbh_candidate_format(const NbhCandidate *candidate, char *buf, gsize size)
{
	char addr[NBH_ADDR_TEXT_MAX], related[NBH_ADDR_TEXT_MAX];

	nbh_addr_format(&candidate->endpoint.addr, addr);
	if (candidate->related.addr.family) {
		nbh_addr_format(&candidate->related.addr, related);
		g_snprintf(buf, size, "%s 1 udp %u %s %u typ %s raddr %s rport %u", candidate->foundation,
		           candidate->priority, addr, candidate->endpoint.port,
		           nbh_candidate_type_name(candidate->type), related, candidate->related.port);
	} else {
		g_snprintf(buf, size, "%s 1 udp %u %s %u typ %s", candidate->foundation, candidate->priority,
		           addr, candidate->endpoint.port, nbh_candidate_type_name(candidate->type));
	}
	return buf;
}

static gboolean list_has(const NbhCandidate *list, gsize n, const struct nbh_endpoint *endpoint)
{
	for (gsize i = 0; i < n; i++) {
		if (nbh_endpoint_equal(&list[i].endpoint, endpoint))
			return TRUE;
	}
	return FALSE;
}

/* RFC 8445 section 5.1.2.1 for component 1. The first of a type is preferred. */
static guint32 priority_of(guint32 type_preference, gsize index)
{
	guint32 local_preference = LOCAL_PREFERENCE_BASE - (guint32)MIN(index, LOCAL_PREFERENCE_BASE - 1);

	return type_preference << 24 | local_preference << 8 | 255;
}

gsize nbh_candidates_make(const struct nbh_addr *hosts, gsize n_hosts,
                          const struct nbh_endpoint *mapped, gsize n_mapped, guint16 port,
                          NbhCandidate *ret, gsize max)
{
	gsize n = 0;

	for (gsize i = 0; i < n_hosts && n < max; i++) {
		NbhCandidate host = { .type = NBH_CANDIDATE_HOST };

		host.endpoint = (struct nbh_endpoint){ .addr = hosts[i], .port = port };
		if (list_has(ret, n, &host.endpoint))
			continue;
		host.priority = priority_of(TYPE_PREFERENCE_HOST, i);
		g_snprintf(host.foundation, sizeof(host.foundation), "h%" G_GSIZE_FORMAT, i);
		ret[n++] = host;
	}

	for (gsize i = 0; i < n_mapped && n < max; i++) {
		NbhCandidate srflx = { .type = NBH_CANDIDATE_SRFLX, .endpoint = mapped[i] };

		if (list_has(ret, n, &mapped[i]))
			continue;
		/* The wildcard address: what our address on the inside is, is nobody's business. */
		srflx.related.addr.family = mapped[i].addr.family;
		srflx.related.port = port;
		srflx.priority = priority_of(TYPE_PREFERENCE_SRFLX, i);
		g_snprintf(srflx.foundation, sizeof(srflx.foundation), "s%" G_GSIZE_FORMAT, i);
		ret[n++] = srflx;
	}

	return n;
}

/* Whether a is worth more than b when there is room for one only. */
static gboolean is_better(const NbhCandidate *a, const NbhCandidate *b)
{
	if ((a->type == NBH_CANDIDATE_SRFLX) != (b->type == NBH_CANDIDATE_SRFLX))
		return a->type == NBH_CANDIDATE_SRFLX;
	return a->priority > b->priority;
}

gboolean nbh_candidate_set_add(NbhCandidateSet *set, const NbhCandidate *candidate)
{
	gsize worst = 0;

	for (gsize i = 0; i < set->n; i++) {
		if (set->items[i].type == candidate->type &&
		    nbh_endpoint_equal(&set->items[i].endpoint, &candidate->endpoint))
			return FALSE;
		if (is_better(&set->items[worst], &set->items[i]))
			worst = i;
	}

	if (set->n < G_N_ELEMENTS(set->items)) {
		set->items[set->n++] = *candidate;
		return TRUE;
	}

	set->dropped++;
	if (!is_better(candidate, &set->items[worst]))
		return FALSE;

	set->items[worst] = *candidate;
	return TRUE;
}

gboolean nbh_candidate_filter_allows(const NbhCandidateFilter *filter, const NbhLocalAddress *local)
{
	if (local->addr.family != AF_INET && local->addr.family != AF_INET6)
		return FALSE;
	if (nbh_addr_is_unspecified(&local->addr) || nbh_addr_is_loopback(&local->addr) ||
	    nbh_addr_is_multicast(&local->addr) || nbh_addr_is_link_local(&local->addr))
		return FALSE;

	if (filter->own_interface && local->interface && strcmp(filter->own_interface, local->interface) == 0)
		return FALSE;
	for (gsize i = 0; filter->blacklist && local->interface && filter->blacklist[i]; i++) {
		if (filter->blacklist[i][0] && g_str_has_prefix(local->interface, filter->blacklist[i]))
			return FALSE;
	}

	if (filter->overlay.addr.family && nbh_prefix_contains(&filter->overlay, &local->addr))
		return FALSE;
	if (filter->overlay_v6.addr.family && nbh_prefix_contains(&filter->overlay_v6, &local->addr))
		return FALSE;

	if (local->addr.family == AF_INET6 && (local->is_temporary || local->is_deprecated))
		return local->is_natural_source;
	return TRUE;
}
