#include "config.h"

#include "wg/daemon.h"
#include "wg/isolate.h"
#include "wg/options.h"

int main(int argc, char **argv)
{
	struct wg_options options;
	int r;

	wg_isolate_early();
	r = wg_options_parse(argc, argv, &options);
	if (r >= 0)
		return r;

	return options.ended ? wg_daemon_note_ending(&options) : wg_daemon_run(&options);
}
