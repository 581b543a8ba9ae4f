#include "config.h"

#include "net/dial.h"

#include "net/proxy.h"
#include "net/tls.h"

#include <string.h>

struct _NbhDial {
	NbhTls *tls;       /* owned */
	NbhProxy *proxy;   /* owned; from the configuration */
	gboolean no_proxy; /* not even the environment's */
};

static const char *set(const char *text)
{
	return text && *text ? text : NULL;
}

static void dial_destroy(gpointer data)
{
	NbhDial *dial = data;

	nbh_tls_unref(dial->tls);
	nbh_proxy_free(dial->proxy);
}

NbhDial *nbh_dial_new(const NbhDialConfig *config, GError **error)
{
	const NbhDialConfig nothing = { .ca_file = NULL };
	const NbhDialConfig *from = config ? config : &nothing;
	const NbhTlsFiles files = { set(from->ca_file), set(from->cert_file), set(from->key_file) };
	NbhDial *dial;

	if (files.key_file && !files.cert_file) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "clientKeyFile: there is no clientCertFile");
		return NULL;
	}
	dial = g_rc_box_new0(NbhDial);
	dial->no_proxy = g_strcmp0(from->proxy, "none") == 0;
	if (set(from->proxy) && !dial->no_proxy) {
		dial->proxy = nbh_proxy_parse(from->proxy, error);
		if (!dial->proxy) {
			g_prefix_error(error, "proxy: ");
			nbh_dial_unref(dial);
			return NULL;
		}
	}
	dial->tls = nbh_tls_client_new(&files);
	return dial;
}

NbhDial *nbh_dial_ref(NbhDial *dial)
{
	return g_rc_box_acquire(dial);
}

void nbh_dial_unref(NbhDial *dial)
{
	if (dial)
		g_rc_box_release_full(dial, dial_destroy);
}

NbhStream *nbh_dial_connect(NbhDial *dial, const char *host, guint16 port, gboolean tls, guint deadline_ms,
                            const NbhStreamEvents *events, gpointer owner)
{
	const char *found = dial->proxy || dial->no_proxy ? NULL : nbh_proxy_from_environment(host, port);
	g_autoptr(NbhProxy) proxy = NULL;
	g_autoptr(GError) error = NULL;

	if (found) {
		proxy = nbh_proxy_parse(found, &error);
		if (!proxy) {
			g_prefix_error(&error, "the proxy in the environment (HTTPS_PROXY): ");
			return nbh_stream_new_failed(error->message, events, owner);
		}
	}
	return nbh_stream_connect(host, port, tls ? dial->tls : NULL, found ? proxy : dial->proxy, deadline_ms,
				  events, owner);
}
