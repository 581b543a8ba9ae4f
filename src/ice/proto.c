#include "config.h"

#include "ice/proto.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEX_SID_LEN (2 * NBH_SESSION_ID_LEN)

static const char *const verb_names[] = {
	[NBH_ICE_MSG_SET_PORT] = "SET_PORT", [NBH_ICE_MSG_LIST] = "LIST",
	[NBH_ICE_MSG_OPEN] = "OPEN",         [NBH_ICE_MSG_REMOTE] = "REMOTE",
	[NBH_ICE_MSG_CANDIDATE] = "CANDIDATE", [NBH_ICE_MSG_CLOSE] = "CLOSE",
	[NBH_ICE_MSG_CLOSE_ALL] = "CLOSE_ALL", [NBH_ICE_MSG_STUN] = "STUN",
	[NBH_ICE_MSG_FORWARD] = "FORWARD",   [NBH_ICE_MSG_OVERLAY] = "OVERLAY",
	[NBH_ICE_MSG_HELLO] = "HELLO",
	[NBH_ICE_MSG_SESSION] = "SESSION",   [NBH_ICE_MSG_END] = "END",
	[NBH_ICE_MSG_SELECTED] = "SELECTED", [NBH_ICE_MSG_FAILED] = "FAILED",
	[NBH_ICE_MSG_LOST] = "LOST",
	[NBH_ICE_MSG_HEARD] = "HEARD",         [NBH_ICE_MSG_MAPPED] = "MAPPED",
	[NBH_ICE_MSG_ERROR] = "ERROR",
};
_Static_assert(G_N_ELEMENTS(verb_names) == NBH_ICE_N_MSGS, "a verb without a name");

const char *nbh_ice_verb_name(NbhIceVerb verb)
{
	return verb < NBH_ICE_N_MSGS ? verb_names[verb] : "?";
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Walks over the fields of one line; the first thing that is wrong sticks. */
typedef struct {
	const char *at, *end; /* at is NULL when the line is used up */
	gboolean bad;
	struct nbh_why *why;
} Reader;

static void refuse(Reader *r, const char *field, const char *what)
{
	if (!r->bad)
		nbh_why_set(r->why, "%s: %s", field, what);

	r->bad = TRUE;
}

static void read_field(Reader *r, const char *field, char *ret, gsize size)
{
	const char *stop;
	gsize len;

	ret[0] = '\0';

	if (r->bad)
		return;

	if (!r->at) {
		refuse(r, field, "missing");
		return;
	}

	stop = memchr(r->at, ' ', r->end - r->at);
	len = (stop ? stop : r->end) - r->at;

	if (!len || len >= size) {
		refuse(r, field, len ? "too long" : "empty");
		return;
	}

	memcpy(ret, r->at, len);
	ret[len] = '\0';
	r->at = stop ? stop + 1 : NULL;
}

/* Everything that is left, with its spaces. */
static void read_rest(Reader *r, const char *field, char *ret, gsize size)
{
	gsize len;

	ret[0] = '\0';

	if (r->bad)
		return;

	len = r->at ? (gsize)(r->end - r->at) : 0;

	if (!len || len >= size) {
		refuse(r, field, len ? "too long" : "missing");
		return;
	}

	memcpy(ret, r->at, len);
	ret[len] = '\0';
	r->at = NULL;
}

static guint64 read_number(Reader *r, const char *field, guint64 min, guint64 max)
{
	char text[24];
	guint64 value = 0;

	read_field(r, field, text, sizeof(text));

	/* Only the way in which we write it: no sign, no leading zero. */
	if (!r->bad && (!g_ascii_string_to_unsigned(text, 10, min, max, &value, NULL) ||
	                !g_ascii_isdigit(text[0]) || (text[0] == '0' && text[1])))
		refuse(r, field, "not a number in its range");

	return value;
}

static gboolean read_choice(Reader *r, const char *field, const char *yes, const char *no)
{
	char text[16];

	read_field(r, field, text, sizeof(text));

	if (!r->bad && !g_str_equal(text, yes) && !g_str_equal(text, no))
		refuse(r, field, "not one of the two words that it may be");

	return g_str_equal(text, yes);
}

static void read_peer(Reader *r, struct nbh_key *ret)
{
	char text[NBH_KEY_TEXT_LEN + 1];

	read_field(r, "peer", text, sizeof(text));

	if (!r->bad && nbh_key_parse(text, ret))
		refuse(r, "peer", "not a public key");
}

/* RFC 8839 section 5.4: ice-char = ALPHA / DIGIT / "+" / "/". */
static gboolean is_ice_text(const char *text, gsize min, gsize max)
{
	gsize len = strnlen(text, max + 1);

	if (len < min || len > max)
		return FALSE;

	for (gsize i = 0; i < len; i++)
		if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/')
			return FALSE;

	return TRUE;
}

static void read_creds(Reader *r, gboolean may_be_absent, NbhIceCreds *ret)
{
	read_field(r, "ufrag", ret->ufrag, sizeof(ret->ufrag));
	read_field(r, "password", ret->pwd, sizeof(ret->pwd));

	if (r->bad)
		return;

	if (may_be_absent && g_str_equal(ret->ufrag, "-") && g_str_equal(ret->pwd, "-")) {
		memset(ret, 0, sizeof(*ret));
		return;
	}

	if (!is_ice_text(ret->ufrag, NBH_ICE_UFRAG_MIN, NBH_ICE_UFRAG_MAX))
		refuse(r, "ufrag", "not 4 to 64 letters and digits");
	else if (!is_ice_text(ret->pwd, NBH_ICE_PWD_MIN, NBH_ICE_PWD_MAX))
		refuse(r, "password", "not 22 to 256 letters and digits");
}

/* Lower case only, as we write it. */
static gboolean hex_parse(const char *text, guint8 *ret, gsize len)
{
	for (gsize i = 0; i < 2 * len; i++)
		if (!g_ascii_isxdigit(text[i]) || g_ascii_isupper(text[i]))
			return FALSE;

	for (gsize i = 0; i < len; i++)
		ret[i] = (guint8)(g_ascii_xdigit_value(text[2 * i]) << 4 |
		                  g_ascii_xdigit_value(text[2 * i + 1]));

	return text[2 * len] == '\0';
}

static void read_session_id(Reader *r, NbhSessionId *ret)
{
	char text[HEX_SID_LEN + 1];

	read_field(r, "session", text, sizeof(text));

	if (r->bad || g_str_equal(text, "-"))
		return;

	ret->present = TRUE;

	if (!hex_parse(text, ret->bytes, NBH_SESSION_ID_LEN))
		refuse(r, "session", "not 10 hexadecimal digits");
}

static void read_endpoint(Reader *r, const char *field, gboolean may_be_absent,
                          struct nbh_endpoint *ret)
{
	char text[NBH_ENDPOINT_TEXT_MAX];

	read_field(r, field, text, sizeof(text));

	if (r->bad || (may_be_absent && g_str_equal(text, "-")))
		return;

	if (nbh_endpoint_parse(text, ret))
		refuse(r, field, "not an address with port");
}

static NbhCandidateType read_type(Reader *r, const char *field)
{
	char text[8];

	read_field(r, field, text, sizeof(text));

	for (NbhCandidateType type = 0; type < NBH_CANDIDATE_N_TYPES; type++)
		if (g_str_equal(text, nbh_candidate_type_name(type)))
			return type;

	refuse(r, field, "not a candidate type");
	return NBH_CANDIDATE_HOST;
}

static void read_pair(Reader *r, NbhIcePair *ret)
{
	ret->local_type = read_type(r, "local type");
	read_endpoint(r, "local", TRUE, &ret->local);
	ret->remote_type = read_type(r, "remote type");
	read_endpoint(r, "remote", FALSE, &ret->remote);
}

static void read_open(Reader *r, NbhIceOpen *ret)
{
	read_creds(r, FALSE, &ret->local);
	read_session_id(r, &ret->local_session);
	ret->controlling = read_choice(r, "role", "controlling", "controlled");
	ret->liveness_ms = (guint)read_number(r, "liveness_ms", 0, 3600 * 1000);
	ret->consent_keepalives = read_choice(r, "keepalives", "on", "off");
}

static void read_session(Reader *r, NbhIceSession *ret)
{
	read_creds(r, FALSE, &ret->local);
	read_session_id(r, &ret->local_session);
	ret->controlling = read_choice(r, "role", "controlling", "controlled");
	read_creds(r, TRUE, &ret->remote);
	read_session_id(r, &ret->remote_session);
	ret->selected = !r->bad && r->at;

	if (ret->selected)
		read_pair(r, &ret->pair);
}

static void read_candidate(Reader *r, NbhCandidate *ret)
{
	char text[NBH_CANDIDATE_TEXT_MAX_BYTES];
	struct nbh_why inner = { "" };

	read_rest(r, "candidate", text, sizeof(text));

	if (!r->bad && !nbh_candidate_parse(text, ret, &inner))
		refuse(r, "candidate", inner.text);
}

static void read_forward(Reader *r, NbhIceMessage *m)
{
	char text[2 * NBH_ICE_INITIATION_LEN + 1];

	read_endpoint(r, "to", FALSE, &m->u.forward.to);
	read_field(r, "data", text, sizeof(text));

	if (!r->bad && !hex_parse(text, m->u.forward.data, NBH_ICE_INITIATION_LEN))
		refuse(r, "data", "not 148 bytes in hexadecimal");
}

static void read_prefix(Reader *r, const char *field, guint8 family, struct nbh_prefix *ret)
{
	char text[NBH_PREFIX_TEXT_MAX];
	struct nbh_prefix prefix;

	read_field(r, field, text, sizeof(text));

	if (r->bad || g_str_equal(text, "-"))
		return;

	if (nbh_prefix_parse(text, &prefix) || prefix.addr.family != family) {
		refuse(r, field, "not a network of its kind");
		return;
	}

	*ret = nbh_prefix_masked(&prefix);
}

static void read_hello(Reader *r, NbhIceMessage *m)
{
	m->u.hello.version = (guint)read_number(r, "version", 1, 1000);
	read_field(r, "backend", m->u.hello.backend, sizeof(m->u.hello.backend));
}

static void read_mapped(Reader *r, NbhIceMessage *m)
{
	read_endpoint(r, "server", FALSE, &m->u.mapped.server);
	read_endpoint(r, "mapped", TRUE, &m->u.mapped.mapped);
}

static gboolean has_peer(NbhIceVerb verb)
{
	switch (verb) {
	case NBH_ICE_MSG_OPEN:
	case NBH_ICE_MSG_REMOTE:
	case NBH_ICE_MSG_CANDIDATE:
	case NBH_ICE_MSG_CLOSE:
	case NBH_ICE_MSG_SESSION:
	case NBH_ICE_MSG_SELECTED:
	case NBH_ICE_MSG_FAILED:
	case NBH_ICE_MSG_LOST:
	case NBH_ICE_MSG_HEARD:
		return TRUE;
	case NBH_ICE_MSG_SET_PORT:
	case NBH_ICE_MSG_LIST:
	case NBH_ICE_MSG_CLOSE_ALL:
	case NBH_ICE_MSG_STUN:
	case NBH_ICE_MSG_FORWARD:
	case NBH_ICE_MSG_OVERLAY:
	case NBH_ICE_MSG_HELLO:
	case NBH_ICE_MSG_END:
	case NBH_ICE_MSG_MAPPED:
	case NBH_ICE_MSG_ERROR:
	case NBH_ICE_N_MSGS:
		break;
	}

	return FALSE;
}

static gboolean may_have_opening(NbhIceVerb verb)
{
	return verb == NBH_ICE_MSG_SELECTED || verb == NBH_ICE_MSG_FAILED || verb == NBH_ICE_MSG_LOST ||
	       verb == NBH_ICE_MSG_HEARD;
}

static void read_body(Reader *r, NbhIceMessage *m)
{
	switch (m->verb) {
	case NBH_ICE_MSG_SET_PORT:
		m->u.port = (guint16)read_number(r, "port", 1, 65535);
		break;
	case NBH_ICE_MSG_OPEN:
		m->u.open.peer = m->peer;
		read_open(r, &m->u.open);
		break;
	case NBH_ICE_MSG_REMOTE:
		read_creds(r, FALSE, &m->u.remote.creds);
		read_session_id(r, &m->u.remote.session);
		break;
	case NBH_ICE_MSG_CANDIDATE:
		read_candidate(r, &m->u.candidate);
		break;
	case NBH_ICE_MSG_STUN:
		read_endpoint(r, "server", FALSE, &m->u.server);
		break;
	case NBH_ICE_MSG_FORWARD:
		read_forward(r, m);
		break;
	case NBH_ICE_MSG_OVERLAY:
		read_prefix(r, "prefix4", AF_INET, &m->u.overlay[0]);
		read_prefix(r, "prefix6", AF_INET6, &m->u.overlay[1]);
		break;
	case NBH_ICE_MSG_HELLO:
		read_hello(r, m);
		break;
	case NBH_ICE_MSG_SESSION:
		m->u.session.peer = m->peer;
		read_session(r, &m->u.session);
		break;
	case NBH_ICE_MSG_SELECTED:
		read_pair(r, &m->u.pair);
		break;
	case NBH_ICE_MSG_HEARD:
		read_endpoint(r, "from", FALSE, &m->u.heard);
		break;
	case NBH_ICE_MSG_MAPPED:
		read_mapped(r, m);
		break;
	case NBH_ICE_MSG_ERROR:
		read_rest(r, "text", m->u.text, sizeof(m->u.text));
		break;
	case NBH_ICE_MSG_LIST:
	case NBH_ICE_MSG_CLOSE:
	case NBH_ICE_MSG_CLOSE_ALL:
	case NBH_ICE_MSG_END:
	case NBH_ICE_MSG_FAILED:
	case NBH_ICE_MSG_LOST:
	case NBH_ICE_N_MSGS:
		break;
	}
}

gboolean nbh_ice_message_parse(const char *line, gsize len, NbhIceMessage *ret_message, struct nbh_why *why)
{
	Reader r = { .at = line, .end = line + len, .why = why };
	NbhIceMessage m = { .verb = 0 };
	char word[16];

	if (len >= NBH_ICE_MESSAGE_MAX_BYTES) {
		nbh_why_set(why, "line of %zu bytes", len);
		return FALSE;
	}

	for (gsize i = 0; i < len; i++) {
		if (line[i] < 0x20 || line[i] > 0x7e) {
			nbh_why_set(why, "byte 0x%02x in a line", (guint8)line[i]);
			return FALSE;
		}
	}

	read_field(&r, "command", word, sizeof(word));

	if (r.bad)
		return FALSE;

	while (m.verb < NBH_ICE_N_MSGS && !g_str_equal(word, verb_names[m.verb]))
		m.verb++;

	if (m.verb == NBH_ICE_N_MSGS) {
		nbh_why_set(why, "unknown command %s", word);
		return FALSE;
	}

	if (has_peer(m.verb))
		read_peer(&r, &m.peer);

	read_body(&r, &m);
	m.has_opening = !r.bad && r.at && may_have_opening(m.verb);

	if (m.has_opening)
		m.opening = (guint32)read_number(&r, "opening", 0, G_MAXUINT32);

	if (!r.bad && r.at)
		refuse(&r, "line", "has more fields than it should");

	if (r.bad) {
		nbh_why_prefix(why, "%s", word);
		return FALSE;
	}

	*ret_message = m;
	return TRUE;
}

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct {
	char *buf;
	gsize len;
	gboolean bad;
} Writer;

static void G_GNUC_PRINTF(2, 3) put(Writer *w, const char *fmt, ...)
{
	gsize room = NBH_ICE_MESSAGE_MAX_BYTES - w->len;
	va_list ap;
	int n;

	if (w->bad)
		return;

	va_start(ap, fmt);
	n = vsnprintf(w->buf + w->len, room, fmt, ap);
	va_end(ap);

	if (n < 0 || (gsize)n >= room)
		w->bad = TRUE;
	else
		w->len += (gsize)n;
}

static void put_hex(Writer *w, const guint8 *bytes, gsize len)
{
	for (gsize i = 0; i < len; i++)
		put(w, "%02x", bytes[i]);
}

static void put_creds(Writer *w, gboolean may_be_absent, const NbhIceCreds *creds)
{
	if (may_be_absent && !creds->ufrag[0]) {
		put(w, " - -");
		return;
	}

	if (!is_ice_text(creds->ufrag, NBH_ICE_UFRAG_MIN, NBH_ICE_UFRAG_MAX) ||
	    !is_ice_text(creds->pwd, NBH_ICE_PWD_MIN, NBH_ICE_PWD_MAX))
		w->bad = TRUE;
	else
		put(w, " %s %s", creds->ufrag, creds->pwd);
}

static void put_session_id(Writer *w, const NbhSessionId *id)
{
	put(w, id->present ? " " : " -");

	if (id->present)
		put_hex(w, id->bytes, NBH_SESSION_ID_LEN);
}

static void put_endpoint(Writer *w, gboolean may_be_absent, const struct nbh_endpoint *endpoint)
{
	char text[NBH_ENDPOINT_TEXT_MAX];

	if (nbh_endpoint_is_set(endpoint))
		put(w, " %s", nbh_endpoint_format(endpoint, text));
	else if (may_be_absent)
		put(w, " -");
	else
		w->bad = TRUE;
}

static void put_prefix(Writer *w, guint8 family, const struct nbh_prefix *prefix)
{
	char text[NBH_PREFIX_TEXT_MAX];

	if (!prefix->addr.family)
		put(w, " -");
	else if (prefix->addr.family == family)
		put(w, " %s", nbh_prefix_format(prefix, text));
	else
		w->bad = TRUE;
}

static void put_pair(Writer *w, const NbhIcePair *pair)
{
	if (pair->local_type >= NBH_CANDIDATE_N_TYPES || pair->remote_type >= NBH_CANDIDATE_N_TYPES) {
		w->bad = TRUE;
		return;
	}

	put(w, " %s", nbh_candidate_type_name(pair->local_type));
	put_endpoint(w, TRUE, &pair->local);
	put(w, " %s", nbh_candidate_type_name(pair->remote_type));
	put_endpoint(w, FALSE, &pair->remote);
}

static void put_open(Writer *w, const NbhIceOpen *open)
{
	put_creds(w, FALSE, &open->local);
	put_session_id(w, &open->local_session);
	put(w, " %s %u %s", open->controlling ? "controlling" : "controlled", open->liveness_ms,
	    open->consent_keepalives ? "on" : "off");
}

static void put_session(Writer *w, const NbhIceSession *session)
{
	put_creds(w, FALSE, &session->local);
	put_session_id(w, &session->local_session);
	put(w, " %s", session->controlling ? "controlling" : "controlled");
	put_creds(w, TRUE, &session->remote);
	put_session_id(w, &session->remote_session);

	if (session->selected)
		put_pair(w, &session->pair);
}

static void put_candidate(Writer *w, const NbhCandidate *candidate)
{
	char text[NBH_CANDIDATE_TEXT_MAX_BYTES];

	if (!nbh_endpoint_is_set(&candidate->endpoint))
		w->bad = TRUE;
	else
		put(w, " %s", nbh_candidate_format(candidate, text, sizeof(text)));
}

/* Free text: whatever could not be in a line becomes '?'. */
static void put_text(Writer *w, const char *text)
{
	put(w, " ");

	for (const char *p = text[0] ? text : "unknown"; *p; p++)
		put(w, "%c", g_ascii_isprint(*p) ? *p : '?');
}

static void put_body(Writer *w, const NbhIceMessage *m)
{
	switch (m->verb) {
	case NBH_ICE_MSG_SET_PORT:
		put(w, " %u", m->u.port);
		w->bad |= !m->u.port;
		break;
	case NBH_ICE_MSG_OPEN:
		put_open(w, &m->u.open);
		break;
	case NBH_ICE_MSG_REMOTE:
		put_creds(w, FALSE, &m->u.remote.creds);
		put_session_id(w, &m->u.remote.session);
		break;
	case NBH_ICE_MSG_CANDIDATE:
		put_candidate(w, &m->u.candidate);
		break;
	case NBH_ICE_MSG_STUN:
		put_endpoint(w, FALSE, &m->u.server);
		break;
	case NBH_ICE_MSG_FORWARD:
		put_endpoint(w, FALSE, &m->u.forward.to);
		put(w, " ");
		put_hex(w, m->u.forward.data, NBH_ICE_INITIATION_LEN);
		break;
	case NBH_ICE_MSG_OVERLAY:
		put_prefix(w, AF_INET, &m->u.overlay[0]);
		put_prefix(w, AF_INET6, &m->u.overlay[1]);
		break;
	case NBH_ICE_MSG_HELLO:
		put(w, " %u %s", m->u.hello.version, m->u.hello.backend);
		break;
	case NBH_ICE_MSG_SESSION:
		put_session(w, &m->u.session);
		break;
	case NBH_ICE_MSG_SELECTED:
		put_pair(w, &m->u.pair);
		break;
	case NBH_ICE_MSG_HEARD:
		put_endpoint(w, FALSE, &m->u.heard);
		break;
	case NBH_ICE_MSG_MAPPED:
		put_endpoint(w, FALSE, &m->u.mapped.server);
		put_endpoint(w, TRUE, &m->u.mapped.mapped);
		break;
	case NBH_ICE_MSG_ERROR:
		put_text(w, m->u.text);
		break;
	case NBH_ICE_MSG_LIST:
	case NBH_ICE_MSG_CLOSE:
	case NBH_ICE_MSG_CLOSE_ALL:
	case NBH_ICE_MSG_END:
	case NBH_ICE_MSG_FAILED:
	case NBH_ICE_MSG_LOST:
	case NBH_ICE_N_MSGS:
		break;
	}
}

gsize nbh_ice_message_format(const NbhIceMessage *message, char buf[NBH_ICE_MESSAGE_MAX_BYTES])
{
	Writer w = { .buf = buf };

	if (message->verb >= NBH_ICE_N_MSGS)
		return 0;

	put(&w, "%s", verb_names[message->verb]);

	if (has_peer(message->verb))
		put(&w, " %s", nbh_key_format(&message->peer).text);

	put_body(&w, message);

	if (message->has_opening && may_have_opening(message->verb))
		put(&w, " %u", message->opening);

	return w.bad ? 0 : w.len;
}
