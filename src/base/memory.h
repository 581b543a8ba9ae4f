#ifndef NBH_BASE_MEMORY_H
#define NBH_BASE_MEMORY_H

/*
 * Gives back what is not used any more: free heap, and the code of this program and its libraries,
 * most of which only ran at start. What runs again is mapped again from the page cache, 64 kB per
 * fault. For a quiet moment after much has happened: about 0.2 ms.
 */
void nbh_memory_trim(void);

#endif
