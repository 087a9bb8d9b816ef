// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the polled AIO interface, to be run as root on a kernel that has it.
 *
 * usage: aio_test [-l] [-k FILTER] DEVICE [SLOW_DEVICE|- [UNPOLLABLE_DEVICE]]
 *        aio_test [-l] [-k FILTER] -d DIRECTORY
 *
 * The first form tests the interface as such, the second one what is particular
 * to files. With -l, the names of the cases are all that is printed.
 */
#include <stdio.h>

#include "tests.h"

const char *device, *slow_device, *unpollable_device, *directory;
char *skip_reason;

int open_path(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0) {
		printf("# cannot open %s: %s\n", path, strerror(errno));
		fflush(stdout);
		_exit(FAIL);
	}
	return fd;
}

int open_device(void)
{
	return open_path(device, O_RDWR | O_DIRECT);
}

unsigned int device_depth(const char *path)
{
	const char *name = strrchr(path, '/');
	unsigned int depth = 0;
	char attr[128];
	FILE *file;

	snprintf(attr, sizeof(attr), "/sys/block/%s/queue/nr_requests",
		 name ? name + 1 : path);
	file = fopen(attr, "r");
	if (file) {
		if (fscanf(file, "%u", &depth) != 1)
			depth = 0;
		fclose(file);
	}
	return depth;
}

long status_kib(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		size_t len = strlen(name);

		if (!strncmp(line, name, len) && line[len] == ':')
			kib = atol(line + len + 1);
	}
	if (file)
		fclose(file);
	return kib;
}

aio_context_t polled_context(unsigned int nr)
{
	aio_context_t ctx = 0;
	long ret = sys_io_setup2(nr, IOPOLL, NULL, NULL, NULL, &ctx);

	if (ret) {
		printf("# no polled context: %s\n", strerror((int)-ret));
		fflush(stdout);
		_exit(FAIL);
	}
	return ctx;
}

int reap(aio_context_t ctx, unsigned int nr, struct io_event *events)
{
	struct timespec timeout = seconds(1);
	double deadline = now() + 10;
	unsigned int got = 0;

	while (got < nr) {
		CHECK(now() < deadline, "%u of %u events", got, nr);
		long ret = sys_io_getevents(ctx, 1, nr - got, events + got,
					    &timeout);

		CHECK(ret >= 0, "%s", strerror((int)-ret));
		got += (unsigned int)ret;
	}
	return PASS;
}

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [-l] [-k FILTER] DEVICE [SLOW_DEVICE|- [UNPOLLABLE_DEVICE]]\n"
		"       %s [-l] [-k FILTER] -d DIRECTORY\n", name, name);
	return 2;
}

int main(int argc, char **argv)
{
	struct test_case cases[256];
	const char *filter = NULL;
	unsigned int nr = 0, i;
	bool list = false;
	int opt;

	while ((opt = getopt(argc, argv, "d:k:l")) != -1) {
		if (opt == 'd')
			directory = optarg;
		else if (opt == 'k')
			filter = optarg;
		else if (opt == 'l')
			list = true;
		else
			return usage(argv[0]);
	}
	if (directory ? optind < argc : optind >= argc && !list)
		return usage(argv[0]);
	if (!directory)
		device = argv[optind];
	if (optind + 1 < argc && strcmp(argv[optind + 1], "-"))
		slow_device = argv[optind + 1];
	if (optind + 2 < argc)
		unpollable_device = argv[optind + 2];

#define ADD(table)							\
	do {								\
		memcpy(cases + nr, table, nr_##table * sizeof(table[0]));\
		nr += nr_##table;					\
	} while (0)
	if (directory) {
		ADD(file_cases);
	} else {
		ADD(setup_cases);
		ADD(submit_cases);
		ADD(poll_cases);
		ADD(buffer_cases);
		ADD(race_cases);
	}
	for (i = 0; list && i < nr; i++)
		if (!filter || strstr(cases[i].name, filter))
			puts(cases[i].name);
	return list ? 0 : ktap_run(cases, nr, filter);
}
