#include "config.h"

#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Relocations in the code itself would be lost. Debian has none of those left. */
static bool has_text_relocations(const struct dl_phdr_info *object)
{
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		const ElfW(Dyn) *entry;

		if (segment->p_type != PT_DYNAMIC)
			continue;

		for (entry = (const ElfW(Dyn) *)(object->dlpi_addr + segment->p_vaddr); entry->d_tag != DT_NULL; entry++)
			if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL)))
				return true;
	}

	return false;
}

/* Pages of a file that are never written: they are as good in the page cache. */
static int unmap_code(struct dl_phdr_info *object, size_t size, void *data)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	if (has_text_relocations(object))
		return 0;

	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
		uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz + page - 1) & ~(page - 1);

		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
			(void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* a kernel that cannot, does not */
	}

	return 0;
}

void nbh_memory_trim(void)
{
	malloc_trim(0);
	dl_iterate_phdr(unmap_code, NULL);
}
