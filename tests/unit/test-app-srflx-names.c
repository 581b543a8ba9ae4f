/* app/srflx: names of servers, with a resolver that answers when the test says so. */
#include "config.h"

#include "app/srflx.h"
#include "base/limits.h"

typedef struct {
	GResolver parent;
	GPtrArray *open; /* GTask, owned; the task data is the host */
	guint n_asked;
} TestResolver;

typedef GResolverClass TestResolverClass;

GType test_resolver_get_type(void);
G_DEFINE_TYPE(TestResolver, test_resolver, G_TYPE_RESOLVER)

static void lookup(GResolver *resolver, const char *host, GCancellable *cancellable, GAsyncReadyCallback callback,
                   gpointer data)
{
	TestResolver *self = (TestResolver *)resolver;
	GTask *task = g_task_new(resolver, cancellable, callback, data);

	self->n_asked++;
	g_task_set_task_data(task, g_strdup(host), g_free);
	g_ptr_array_add(self->open, task);
}

static GList *lookup_finish(GResolver *resolver, GAsyncResult *result, GError **error)
{
	(void)resolver;
	return g_task_propagate_pointer(G_TASK(result), error);
}

static void test_resolver_class_init(TestResolverClass *class)
{
	class->lookup_by_name_async = lookup;
	class->lookup_by_name_finish = lookup_finish;
}

static void test_resolver_init(TestResolver *self)
{
	self->open = g_ptr_array_new_with_free_func(g_object_unref);
}

static void free_list(gpointer list)
{
	g_resolver_free_addresses(list);
}

static void answer(TestResolver *resolver, const char *address)
{
	g_autoptr(GTask) task = g_ptr_array_steal_index(resolver->open, 0);

	if (address)
		g_task_return_pointer(task, g_list_append(NULL, g_inet_address_new_from_string(address)), free_list);
	else
		g_task_return_new_error(task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "no such name");
	while (g_main_context_iteration(NULL, FALSE)) {
	}
}

static guint n_queries;

static void stun_query(NbhIce *ice, const struct nbh_endpoint *server)
{
	(void)ice;
	(void)server;
	n_queries++;
}

static void on_change(gpointer owner)
{
	(void)owner;
}

static TestResolver *install_resolver(void)
{
	TestResolver *resolver = g_object_new(test_resolver_get_type(), NULL);

	g_resolver_set_default(G_RESOLVER(resolver));
	n_queries = 0;
	return resolver;
}

static NbhSrflx *open_srflx(void)
{
	static NbhIceBackend backend = { .stun_query = stun_query };
	NbhSrflx *srflx = nbh_srflx_new(on_change, NULL);

	nbh_srflx_set_ice(srflx, &backend, (NbhIce *)&backend);
	return srflx;
}

static void set_servers(NbhSrflx *srflx, guint from, guint n)
{
	g_autoptr(GPtrArray) uris = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < n; i++)
		g_ptr_array_add(uris, g_strdup_printf("stun:s%u.example:3478", from + i));
	nbh_srflx_set_servers(srflx, uris);
}

static void test_one_question_at_a_time(void)
{
	TestResolver *resolver = install_resolver();
	NbhSrflx *srflx = open_srflx();

	set_servers(srflx, 0, 2);
	for (guint i = 0; i < 100; i++)
		nbh_srflx_ask(srflx);
	g_assert_cmpuint(resolver->n_asked, ==, 2);
	answer(resolver, "192.0.2.1");
	g_assert_cmpuint(n_queries, ==, 1);
	answer(resolver, NULL);
	nbh_srflx_ask(srflx); /* names may have other addresses now */
	g_assert_cmpuint(resolver->n_asked, ==, 4);
	nbh_srflx_free(srflx);
	while (resolver->open->len)
		answer(resolver, NULL);
	g_object_unref(resolver);
}

/* Management that names other servers with every update, and a DNS that does not answer. */
static void test_lookups_are_bounded(void)
{
	TestResolver *resolver = install_resolver();
	NbhSrflx *srflx = open_srflx();

	for (guint i = 0; i < NBH_STUN_LOOKUPS_MAX - 1; i++)
		set_servers(srflx, i, 1);
	g_assert_cmpuint(resolver->open->len, ==, NBH_STUN_LOOKUPS_MAX - 1);
	set_servers(srflx, NBH_STUN_LOOKUPS_MAX, 1);
	g_assert_cmpuint(resolver->open->len, ==, NBH_STUN_LOOKUPS_MAX);
	for (guint i = 0; i < 10000; i++)
		set_servers(srflx, 1000 + i * 8, 8);
	g_assert_cmpuint(resolver->open->len, ==, NBH_STUN_LOOKUPS_MAX);

	/* Those that are wanted in the end get their turn as the others are answered. */
	while (resolver->open->len)
		answer(resolver, "192.0.2.1");
	g_assert_cmpuint(n_queries, ==, 8);
	g_assert_cmpuint(resolver->n_asked, ==, NBH_STUN_LOOKUPS_MAX + 8);
	nbh_srflx_free(srflx);
	g_object_unref(resolver);
}

/* Answers that come after the end. */
static void test_free_while_asking(void)
{
	TestResolver *resolver = install_resolver();
	NbhSrflx *srflx = open_srflx();

	set_servers(srflx, 0, 3);
	nbh_srflx_free(srflx);
	while (resolver->open->len)
		answer(resolver, "192.0.2.1");
	g_assert_cmpuint(n_queries, ==, 0);
	g_object_unref(resolver);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/srflx-names/one-question", test_one_question_at_a_time);
	g_test_add_func("/app/srflx-names/lookups-bounded", test_lookups_are_bounded);
	g_test_add_func("/app/srflx-names/free-while-asking", test_free_while_asking);
	return g_test_run();
}
