#include "config.h"

#include "net/resolver.h"

#include "base/limits.h"
#include "base/log.h"

#include <gio/gio.h>
#include <string.h>

#define PATIENCE_MS 1000

typedef struct {
	char *name; /* owned */
	struct nbh_addr addresses[NBH_RESOLVER_ADDRESSES_MAX];
	gsize n_addresses;
	gboolean is_stale; /* the last answer was from here */
} Known;

struct _NbhResolver {
	GResolver parent;
	GResolver *system; /* owned */
	GPtrArray *known;  /* Known, owned; oldest first */
	guint patience_ms;
	void (*on_change)(gpointer owner);
	gpointer owner;
};

typedef GResolverClass NbhResolverClass;

GType nbh_resolver_get_type(void);
G_DEFINE_TYPE(NbhResolver, nbh_resolver, G_TYPE_RESOLVER)

/* One question of somebody. It lives until the system has answered, too. */
typedef struct {
	NbhResolver *resolver; /* ref */
	GTask *task;           /* owned; NULL: answered already */
	char *name;
	GResolverNameLookupFlags flags;
	guint timer_id;
} Lookup;

static void known_free(gpointer data)
{
	Known *known = data;

	g_free(known->name);
	g_free(known);
}

static void free_list(gpointer list)
{
	g_resolver_free_addresses(list);
}

static Known *find(NbhResolver *resolver, const char *name)
{
	for (guint i = 0; i < resolver->known->len; i++) {
		Known *known = resolver->known->pdata[i];

		if (g_ascii_strcasecmp(known->name, name) == 0)
			return known;
	}
	return NULL;
}

static Known *find_or_add(NbhResolver *resolver, const char *name)
{
	Known *known = find(resolver, name);

	if (known)
		return known;
	if (resolver->known->len == NBH_RESOLVER_NAMES_MAX)
		g_ptr_array_remove_index(resolver->known, 0);
	known = g_new0(Known, 1);
	known->name = g_strdup(name);
	g_ptr_array_add(resolver->known, known);
	return known;
}

static gboolean is_wanted(int family, GResolverNameLookupFlags flags)
{
	if (flags & G_RESOLVER_NAME_LOOKUP_FLAGS_IPV4_ONLY)
		return family == AF_INET;
	if (flags & G_RESOLVER_NAME_LOOKUP_FLAGS_IPV6_ONLY)
		return family == AF_INET6;
	return TRUE;
}

static void add(Known *known, const struct nbh_addr *addr)
{
	if (known->n_addresses < NBH_RESOLVER_ADDRESSES_MAX)
		known->addresses[known->n_addresses++] = *addr;
}

/* What was asked for is replaced; the other family, asked for beside it, stays. */
static void keep(NbhResolver *resolver, const char *name, GResolverNameLookupFlags flags, GList *found)
{
	Known *known = find_or_add(resolver, name);
	Known before = *known;

	known->n_addresses = 0;
	known->is_stale = FALSE;
	for (GList *l = found; l; l = l->next) {
		g_autofree char *text = g_inet_address_to_string(l->data);
		struct nbh_addr addr;

		if (nbh_addr_parse(text, &addr) == 0)
			add(known, &addr);
	}
	for (gsize i = 0; i < before.n_addresses; i++)
		if (!is_wanted(before.addresses[i].family, flags))
			add(known, &before.addresses[i]);
	if (before.is_stale)
		nbh_log(NBH_LOG_NOTICE, "net", "name-resolved-again name=%s", name);
	if (known->n_addresses == before.n_addresses &&
	    memcmp(known->addresses, before.addresses, known->n_addresses * sizeof(struct nbh_addr)) == 0)
		return;
	if (resolver->on_change)
		resolver->on_change(resolver->owner);
}

/* NULL: nothing is known. */
static GList *remembered(Lookup *lookup)
{
	Known *known = find(lookup->resolver, lookup->name);
	GList *list = NULL;

	for (gsize i = known ? known->n_addresses : 0; i-- > 0;) {
		char text[NBH_ADDR_TEXT_MAX];

		if (is_wanted(known->addresses[i].family, lookup->flags))
			list = g_list_prepend(list, g_inet_address_new_from_string(
							    nbh_addr_format(&known->addresses[i], text)));
	}
	return list;
}

/* TRUE: answered from memory. */
static gboolean answer_from_memory(Lookup *lookup, const char *why)
{
	GList *list = remembered(lookup);
	Known *known;

	if (!list)
		return FALSE;
	known = find(lookup->resolver, lookup->name);
	if (!known->is_stale)
		nbh_log(NBH_LOG_NOTICE, "net", "name-not-resolved name=%s why=\"%s\" using=remembered-addresses",
			lookup->name, why);
	known->is_stale = TRUE;
	g_task_return_pointer(lookup->task, list, free_list);
	g_clear_object(&lookup->task);
	return TRUE;
}

static gboolean on_impatient(gpointer data)
{
	Lookup *lookup = data;

	lookup->timer_id = 0;
	answer_from_memory(lookup, "no answer yet");
	return G_SOURCE_REMOVE;
}

static void lookup_free(Lookup *lookup)
{
	if (lookup->timer_id)
		g_source_remove(lookup->timer_id);
	g_clear_object(&lookup->task);
	g_object_unref(lookup->resolver);
	g_free(lookup->name);
	g_free(lookup);
}

/* That there is no such name is an answer; so is that nobody wants to know any more. */
static gboolean is_answer(const GError *error)
{
	return g_error_matches(error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND) ||
	       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void on_answer(GObject *system, GAsyncResult *result, gpointer data)
{
	Lookup *lookup = data;
	GError *error = NULL;
	GList *found = g_resolver_lookup_by_name_with_flags_finish(G_RESOLVER(system), result, &error);

	if (found)
		keep(lookup->resolver, lookup->name, lookup->flags, found);
	if (lookup->task && found)
		g_task_return_pointer(lookup->task, g_steal_pointer(&found), free_list);
	else if (lookup->task && (is_answer(error) || !answer_from_memory(lookup, error->message)))
		g_task_return_error(lookup->task, g_steal_pointer(&error));
	g_resolver_free_addresses(found);
	g_clear_error(&error);
	lookup_free(lookup);
}

static void lookup_with_flags(GResolver *base, const char *name, GResolverNameLookupFlags flags,
                              GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
	NbhResolver *resolver = (NbhResolver *)base;
	Lookup *lookup = g_new0(Lookup, 1);

	lookup->resolver = g_object_ref(resolver);
	lookup->task = g_task_new(base, cancellable, callback, data);
	lookup->name = g_strdup(name);
	lookup->flags = flags;
	if (find(resolver, name))
		lookup->timer_id = g_timeout_add(resolver->patience_ms, on_impatient, lookup);
	g_resolver_lookup_by_name_with_flags_async(resolver->system, name, flags, cancellable, on_answer, lookup);
}

static void lookup_plain(GResolver *base, const char *name, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer data)
{
	lookup_with_flags(base, name, G_RESOLVER_NAME_LOOKUP_FLAGS_DEFAULT, cancellable, callback, data);
}

static GList *finish(GResolver *base, GAsyncResult *result, GError **error)
{
	(void)base;
	return g_task_propagate_pointer(G_TASK(result), error);
}

static void nbh_resolver_finalize(GObject *object)
{
	NbhResolver *resolver = (NbhResolver *)object;

	g_ptr_array_unref(resolver->known);
	g_clear_object(&resolver->system);
	G_OBJECT_CLASS(nbh_resolver_parent_class)->finalize(object);
}

static void nbh_resolver_class_init(NbhResolverClass *class)
{
	G_OBJECT_CLASS(class)->finalize = nbh_resolver_finalize;
	class->lookup_by_name_async = lookup_plain;
	class->lookup_by_name_finish = finish;
	class->lookup_by_name_with_flags_async = lookup_with_flags;
	class->lookup_by_name_with_flags_finish = finish;
}

static void nbh_resolver_init(NbhResolver *resolver)
{
	resolver->known = g_ptr_array_new_with_free_func(known_free);
	resolver->patience_ms = PATIENCE_MS;
}

NbhResolver *nbh_resolver_install(void (*on_change)(gpointer owner), gpointer owner)
{
	NbhResolver *resolver = g_object_new(nbh_resolver_get_type(), NULL);

	resolver->system = g_resolver_get_default();
	resolver->on_change = on_change;
	resolver->owner = owner;
	g_resolver_set_default(G_RESOLVER(resolver));
	return resolver;
}

void nbh_resolver_uninstall(NbhResolver *resolver)
{
	if (!resolver)
		return;
	resolver->on_change = NULL;
	g_resolver_set_default(resolver->system);
	g_object_unref(resolver);
}

void nbh_resolver_remember(NbhResolver *resolver, const char *name, const struct nbh_addr *addr)
{
	Known *known = find_or_add(resolver, name);

	for (gsize i = 0; i < known->n_addresses; i++)
		if (nbh_addr_equal(&known->addresses[i], addr))
			return;
	add(known, addr);
}

void nbh_resolver_each(NbhResolver *resolver, void (*fn)(const char *name, const struct nbh_addr *addr, gpointer data), gpointer data)
{
	for (guint i = 0; i < resolver->known->len; i++) {
		const Known *known = resolver->known->pdata[i];

		for (gsize k = 0; k < known->n_addresses; k++)
			fn(known->name, &known->addresses[k], data);
	}
}

void nbh_resolver_set_patience(NbhResolver *resolver, guint ms)
{
	resolver->patience_ms = ms;
}
