#ifndef NBH_APP_COMMANDS_H
#define NBH_APP_COMMANDS_H

/*
 * The subcommands. As root they prepare the directory and then become the helper's user before they
 * read a file or talk to anybody; `run` and `up` as root are the launcher. Each returns the exit code.
 */

#include "app/options.h"

int nbh_command_run(const NbhOptions *options);
int nbh_command_login(const NbhOptions *options);
int nbh_command_up(const NbhOptions *options);
int nbh_command_down(const NbhOptions *options);
int nbh_command_logout(const NbhOptions *options);

#endif
