#include "config.h"

#include "core/peerset.h"

#include <string.h>

/* "key:version:fqdn:prefix,prefix" */
static NbhNetmap *map_of(const char *const *texts)
{
	gsize n = g_strv_length((char **)texts);
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, MAX(n, 1));

	for (gsize i = 0; i < n; i++) {
		g_auto(GStrv) parts = g_strsplit(texts[i], ":", 4);
		g_auto(GStrv) prefixes = g_strsplit(parts[3], ",", -1);

		peers[i].key.bytes[0] = (guint8)parts[0][0];
		peers[i].agent_version = g_strdup(parts[1]);
		peers[i].fqdn = g_strdup(parts[2]);
		peers[i].n_allowed_ips = g_strv_length(prefixes);
		peers[i].allowed_ips = g_new0(struct nbh_prefix, peers[i].n_allowed_ips + 1);
		for (gsize j = 0; j < peers[i].n_allowed_ips; j++)
			g_assert_cmpint(nbh_prefix_parse(prefixes[j], &peers[i].allowed_ips[j]), ==, 0);
	}
	return nbh_netmap_new(1, peers, n, NULL);
}

static void on_added(const NbhNetmapPeer *peer, gpointer owner)
{
	g_string_append_printf(owner, "+%c ", peer->key.bytes[0]);
}

static void on_removed(const NbhNetmapPeer *peer, gpointer owner)
{
	g_string_append_printf(owner, "-%c ", peer->key.bytes[0]);
}

static void on_changed(const NbhNetmapPeer *peer, guint mask, gpointer owner)
{
	g_string_append_printf(owner, "~%c%u ", peer->key.bytes[0], mask);
}

static const NbhPeersetEvents events = { on_added, on_removed, on_changed };

#define P "10.0.0.1/32"
#define Q "10.0.0.2/32"
#define R "10.0.0.3/32"

static void test_diff(void)
{
	static const struct {
		const char *from[5], *to[5], *expected;
	} cases[] = {
		{ { NULL }, { NULL }, "" },
		{ { NULL }, { "b:1:x:" P, "a:1:x:" Q }, "+a +b " },
		{ { "b:1:x:" P, "a:1:x:" Q }, { NULL }, "-a -b " },
		{ { "a:1:x:" P }, { "a:1:x:" P }, "" },
		{ { "a:1:x:" P "," Q }, { "a:1:x:" Q "," P }, "" },
		{ { "a:1:x:" P }, { "a:1:x:" Q }, "~a1 " },
		{ { "a:1:x:" P }, { "a:1:x:" P "," Q }, "~a1 " },
		{ { "a:1:x:" P }, { "a:2:x:" P }, "~a2 " },
		{ { "a:1:x:" P }, { "a:1:y:" P }, "~a4 " },
		{ { "a:1:x:" P }, { "a:2:y:" Q }, "~a7 " },
		/* A prefix moves from c to a: the removal comes before the addition, whatever the keys are. */
		{ { "b:1:x:" P, "c:1:x:" Q }, { "a:1:x:" Q, "b:1:x:" P }, "-c +a " },
		{ { "a:1:x:" P, "c:1:x:" Q, "e:1:x:" R }, { "b:1:x:" P, "c:2:x:" Q, "d:1:x:" R }, "-a -e +b ~c2 +d " },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(NbhNetmap) from = map_of(cases[i].from);
		g_autoptr(NbhNetmap) to = map_of(cases[i].to);
		g_autoptr(GString) seen = g_string_new(NULL);

		nbh_peerset_diff(from, to, &events, seen);
		g_assert_cmpstr(seen->str, ==, cases[i].expected);

		if (!from->n_peers) {
			g_string_truncate(seen, 0);
			nbh_peerset_diff(NULL, to, &events, seen);
			g_assert_cmpstr(seen->str, ==, cases[i].expected);
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/peerset/diff", test_diff);
	return g_test_run();
}
