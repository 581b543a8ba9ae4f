#include "config.h"

#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void nbh_why_set(struct nbh_why *why, const char *fmt, ...)
{
	va_list args;

	if (!why)
		return;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
}

void nbh_why_prefix(struct nbh_why *why, const char *fmt, ...)
{
	char prefix[sizeof(why->text)], old[sizeof(why->text)];
	va_list args;

	if (!why)
		return;

	va_start(args, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, args);
	va_end(args);
	memcpy(old, why->text, sizeof(old));
	old[sizeof(old) - 1] = '\0';

	/* The prefix names the file and the field: what is cut is the end of the old text. */
	if (snprintf(why->text, sizeof(why->text), "%s: %s", prefix, old) < 0)
		why->text[0] = '\0';
}
