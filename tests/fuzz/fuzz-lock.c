/* Lock files: whoever can write to the directory can write anything into them. */
#include "config.h"

#include "base/lock.h"

#include "tests/fuzz/fuzz.h"

#define NAME NBH_LOCK_HELPER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int dirfd = fuzz_file(NAME, data, len), fd, again_fd;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct nbh_why why = { "" };
	pid_t pid;

	fuzz_require(nbh_lock_holder(dirfd, NAME) == 0);

	/* Somebody holds it, and the file says who: or something else. */
	fd = openat(dirfd, NAME, O_RDWR | O_CLOEXEC);
	fuzz_require(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
	pid = nbh_lock_holder(dirfd, NAME);
	fuzz_require(pid > 0 || pid == -EAGAIN);
	fuzz_require(nbh_lock_take(dirfd, NAME, &again_fd, &why) == -EBUSY && why.text[0]);
	close(fd);

	/* Free again: taken over whatever it says. */
	fuzz_require(nbh_lock_take(dirfd, NAME, &fd, &why) == 0);
	fuzz_require(nbh_lock_holder(dirfd, NAME) == getpid());
	close(fd);
	return 0;
}
