/* HTTP proxies: what one answers to CONNECT, its URL, and lists of hosts that need none. */
#include "config.h"

#include "net/proxy.h"

#include "tests/fuzz/fuzz.h"

static void fuzz_answer(const uint8_t *data, size_t len)
{
	gsize head = nbh_proxy_head_len(data, len);
	g_autofree char *refusal = NULL;

	fuzz_require(head <= len);
	if (!head)
		return;

	refusal = nbh_proxy_refusal(data, head);
	for (const char *p = refusal; p && *p; p++)
		fuzz_require(g_ascii_isprint(*p));
}

static void fuzz_url(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhProxy) proxy = nbh_proxy_parse(text, &error);
	g_autofree char *request = NULL;

	fuzz_require(!proxy == !!error);
	if (!proxy)
		return;

	fuzz_require(proxy->host[0] && proxy->port);
	request = nbh_proxy_request(proxy, "host.example", 443);
	fuzz_require(g_str_has_suffix(request, "\r\n\r\n"));
	/* Nothing of the URL begins a line of its own. */
	fuzz_require(!strstr(strstr(request, "\r\n\r\n") + 4, "\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);

	fuzz_answer(data, len);
	fuzz_url(text);
	(void)nbh_proxy_is_excluded(text, "host.example", 443);
	(void)nbh_proxy_is_excluded(text, "192.0.2.1", 80);
	(void)nbh_proxy_is_excluded(text, "2001:db8::1", 443);
	free(text);
	return 0;
}
