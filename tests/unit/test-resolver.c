/* net/resolver: a system resolver that answers when and what the test says. */
#include "config.h"

#include "net/resolver.h"

#include "base/limits.h"
#include "tests/lib/loop.h"

#include <gio/gio.h>

#define NAME "nb.example"

typedef struct {
	GResolver parent;
	GPtrArray *open; /* GTask, owned */
} TestResolver;

typedef GResolverClass TestResolverClass;

GType test_resolver_get_type(void);
G_DEFINE_TYPE(TestResolver, test_resolver, G_TYPE_RESOLVER)

static void lookup(GResolver *resolver, const char *name, GResolverNameLookupFlags flags, GCancellable *cancellable,
                   GAsyncReadyCallback callback, gpointer data)
{
	TestResolver *self = (TestResolver *)resolver;

	(void)name;
	(void)flags;
	g_ptr_array_add(self->open, g_task_new(resolver, cancellable, callback, data));
}

static void lookup_plain(GResolver *resolver, const char *name, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer data)
{
	lookup(resolver, name, G_RESOLVER_NAME_LOOKUP_FLAGS_DEFAULT, cancellable, callback, data);
}

static GList *lookup_finish(GResolver *resolver, GAsyncResult *result, GError **error)
{
	(void)resolver;
	return g_task_propagate_pointer(G_TASK(result), error);
}

static void test_resolver_class_init(TestResolverClass *class)
{
	class->lookup_by_name_async = lookup_plain;
	class->lookup_by_name_finish = lookup_finish;
	class->lookup_by_name_with_flags_async = lookup;
	class->lookup_by_name_with_flags_finish = lookup_finish;
}

static void test_resolver_init(TestResolver *self)
{
	self->open = g_ptr_array_new_with_free_func(g_object_unref);
}

static void free_list(gpointer list)
{
	g_resolver_free_addresses(list);
}

/* What somebody who asked has got: addresses with commas, or the error's message. */
typedef struct {
	char *text;
	guint n;
} Answer;

static void on_found(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) text = g_string_new(NULL);
	GList *found = g_resolver_lookup_by_name_with_flags_finish(G_RESOLVER(source), result, &error);
	Answer *answer = data;

	for (GList *l = found; l; l = l->next) {
		g_autofree char *one = g_inet_address_to_string(l->data);

		g_string_append_printf(text, "%s%s", text->len ? "," : "", one);
	}
	g_resolver_free_addresses(found);
	g_free(answer->text);
	answer->text = g_strdup(error ? error->message : text->str);
	answer->n++;
}

typedef struct {
	TestResolver *system;
	GResolver *before;
	NbhResolver *resolver;
	Answer answer;
	guint n_changes;
} Rig;

static void on_change(gpointer owner)
{
	((Rig *)owner)->n_changes++;
}

static void rig_open(Rig *rig)
{
	*rig = (Rig){ .before = g_resolver_get_default(), .system = g_object_new(test_resolver_get_type(), NULL) };
	g_resolver_set_default(G_RESOLVER(rig->system));
	rig->resolver = nbh_resolver_install(on_change, rig);
	nbh_resolver_set_patience(rig->resolver, 60 * 1000);
}

static void rig_close(Rig *rig)
{
	g_autoptr(GResolver) now = NULL;

	nbh_resolver_uninstall(rig->resolver);
	now = g_resolver_get_default();
	g_assert_true(now == G_RESOLVER(rig->system));
	g_resolver_set_default(rig->before);
	g_ptr_array_unref(rig->system->open);
	g_object_unref(rig->system);
	g_object_unref(rig->before);
	g_free(rig->answer.text);
}

static void ask(Rig *rig, const char *name, GResolverNameLookupFlags flags, GCancellable *cancellable)
{
	g_autoptr(GResolver) resolver = g_resolver_get_default();

	rig->answer.n = 0;
	g_resolver_lookup_by_name_with_flags_async(resolver, name, flags, cancellable, on_found, &rig->answer);
	test_drain_loop();
}

static void say(Rig *rig, const char *const *addresses)
{
	g_autoptr(GTask) task = g_ptr_array_steal_index(rig->system->open, 0);
	GList *list = NULL;

	for (; *addresses; addresses++)
		list = g_list_append(list, g_inet_address_new_from_string(*addresses));
	g_task_return_pointer(task, list, free_list);
	test_drain_loop();
}

static void fail(Rig *rig, GResolverError code)
{
	g_autoptr(GTask) task = g_ptr_array_steal_index(rig->system->open, 0);

	g_task_return_new_error(task, G_RESOLVER_ERROR, code, "it failed");
	test_drain_loop();
}

#define SAY(rig, ...) say(rig, (const char *const[]){ __VA_ARGS__, NULL })
#define ALL G_RESOLVER_NAME_LOOKUP_FLAGS_DEFAULT
#define V4 G_RESOLVER_NAME_LOOKUP_FLAGS_IPV4_ONLY
#define V6 G_RESOLVER_NAME_LOOKUP_FLAGS_IPV6_ONLY

static void expect(Rig *rig, const char *text)
{
	g_assert_cmpuint(rig->answer.n, ==, 1);
	g_assert_cmpstr(rig->answer.text, ==, text);
}

static void test_dead(void)
{
	Rig rig;

	rig_open(&rig);
	ask(&rig, NAME, ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_TEMPORARY_FAILURE); /* nothing is known yet */
	expect(&rig, "it failed");
	ask(&rig, NAME, ALL, NULL);
	g_assert_cmpuint(rig.answer.n, ==, 0); /* the system is asked first */
	SAY(&rig, "192.0.2.1", "2001:db8::1");
	expect(&rig, "192.0.2.1,2001:db8::1");
	g_assert_cmpuint(rig.n_changes, ==, 1);
	ask(&rig, "NB.example", ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
	expect(&rig, "192.0.2.1,2001:db8::1");
	ask(&rig, NAME, V6, NULL);
	fail(&rig, G_RESOLVER_ERROR_INTERNAL);
	expect(&rig, "2001:db8::1");
	/* That there is no such name is an answer. */
	ask(&rig, NAME, ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_NOT_FOUND);
	expect(&rig, "it failed");
	/* Another name is another name. */
	ask(&rig, "other.example", ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
	expect(&rig, "it failed");
	g_assert_cmpuint(rig.n_changes, ==, 1);
	rig_close(&rig);
}

static void test_slow(void)
{
	Rig rig;

	rig_open(&rig);
	ask(&rig, NAME, ALL, NULL);
	SAY(&rig, "192.0.2.1");
	nbh_resolver_set_patience(rig.resolver, 1);
	ask(&rig, NAME, ALL, NULL);
	test_run_until(rig.answer.n);
	expect(&rig, "192.0.2.1");
	/* It answers after all: for the next time. */
	SAY(&rig, "192.0.2.2");
	g_assert_cmpuint(rig.answer.n, ==, 1);
	g_assert_cmpuint(rig.n_changes, ==, 2);
	nbh_resolver_set_patience(rig.resolver, 60 * 1000);
	ask(&rig, NAME, ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
	expect(&rig, "192.0.2.2");
	rig_close(&rig);
}

/* Both families are asked for at once: neither answer drops the other's. */
static void test_families(void)
{
	Rig rig;

	rig_open(&rig);
	ask(&rig, NAME, V4, NULL);
	SAY(&rig, "192.0.2.1");
	ask(&rig, NAME, V6, NULL);
	SAY(&rig, "2001:db8::1");
	ask(&rig, NAME, V4, NULL);
	SAY(&rig, "192.0.2.1");
	g_assert_cmpuint(rig.n_changes, >=, 2);
	ask(&rig, NAME, ALL, NULL);
	fail(&rig, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
	expect(&rig, "192.0.2.1,2001:db8::1");
	rig_close(&rig);
}

static void test_cancel(void)
{
	g_autoptr(GCancellable) cancellable = g_cancellable_new();
	Rig rig;

	rig_open(&rig);
	ask(&rig, NAME, ALL, NULL);
	SAY(&rig, "192.0.2.1");
	ask(&rig, NAME, ALL, cancellable);
	g_cancellable_cancel(cancellable);
	SAY(&rig, "192.0.2.9");
	expect(&rig, "Operation was cancelled");
	/* The resolver goes while somebody still waits. */
	ask(&rig, NAME, ALL, NULL);
	nbh_resolver_uninstall(rig.resolver);
	rig.resolver = nbh_resolver_install(on_change, &rig);
	SAY(&rig, "192.0.2.9");
	expect(&rig, "192.0.2.9");
	rig_close(&rig);
}

static void count(const char *name, const struct nbh_addr *addr, gpointer data)
{
	(void)name;
	(void)addr;
	++*(guint *)data;
}

static guint n_known(Rig *rig)
{
	guint n = 0;

	nbh_resolver_each(rig->resolver, count, &n);
	return n;
}

static void test_limits(void)
{
	struct nbh_addr addr;
	Rig rig;

	rig_open(&rig);
	for (guint i = 1; i <= NBH_RESOLVER_ADDRESSES_MAX + 1; i++) {
		g_autofree char *text = g_strdup_printf("192.0.2.%u", i);

		g_assert_cmpint(nbh_addr_parse(text, &addr), ==, 0);
		nbh_resolver_remember(rig.resolver, NAME, &addr);
		nbh_resolver_remember(rig.resolver, NAME, &addr);
		g_assert_cmpuint(n_known(&rig), ==, MIN(i, NBH_RESOLVER_ADDRESSES_MAX));
	}
	/* The oldest name makes room. */
	for (guint i = 1; i <= NBH_RESOLVER_NAMES_MAX; i++) {
		g_autofree char *name = g_strdup_printf("n%u.example", i);

		nbh_resolver_remember(rig.resolver, name, &addr);
		g_assert_cmpuint(n_known(&rig), ==, i < NBH_RESOLVER_NAMES_MAX ? NBH_RESOLVER_ADDRESSES_MAX + i : i);
	}
	g_assert_cmpuint(rig.n_changes, ==, 0);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/resolver/dead", test_dead);
	g_test_add_func("/resolver/slow", test_slow);
	g_test_add_func("/resolver/families", test_families);
	g_test_add_func("/resolver/cancel", test_cancel);
	g_test_add_func("/resolver/limits", test_limits);
	return g_test_run();
}
