/* Giving memory back: what only the start used is not mapped any more, and everything still works. */
#include "config.h"

#include "base/memory.h"
#include "tests/lib/tap.h"

#include "base/key.h"

static char table[1 << 16] = { 1 };

/* kB of files that are mapped and present (proc(5)). */
static long resident_files(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kb = -1;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssFile: %ld", &kb) == 1)
			break;

	if (file)
		fclose(file);
	return kb;
}

/* Code of a library, and data that was written: relocations, the heap, our own. */
static bool works(const char *heap)
{
	struct nbh_key private_key, public_key;

	nbh_key_generate_private(&private_key);
	nbh_key_public(&private_key, &public_key);
	return !nbh_key_is_zero(&public_key) && strcmp(heap, "kept") == 0 && table[0] == 2 &&
	       nbh_key_parse(nbh_key_format(&public_key).text, &private_key) == 0;
}

int main(void)
{
	char *heap = strdup("kept");
	long before, after;

	table[0] = 2;
	if (resident_files() < 0)
		tap_skip_all("the kernel does not say what is resident");

	OK(heap && works(heap), "before");
	before = resident_files();
	nbh_memory_trim();
	after = resident_files();
	OK(after < before * 3 / 4, "%ld kB of code and files, %ld before", after, before);
	OK(works(heap), "after");
	nbh_memory_trim();
	nbh_memory_trim();
	OK(works(heap), "again");
	free(heap);
	return tap_done();
}
