// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the polled AIO interface, to be run as root on a kernel that has it.
 *
 * usage: aio_test [-l] [-k FILTER] DEVICE [SLOW|- [UNPOLLABLE|- [SHALLOW]]]
 *        aio_test [-l] [-k FILTER] -d DIRECTORY
 *
 * The first form tests the interface as such, the second one what is particular
 * to files. With -l, the names of the cases are all that is printed.
 */
#include <grp.h>
#include <stdio.h>
#include <sys/time.h>

#include "tests.h"

const char *device, *slow_device, *unpollable_device, *shallow_device;
const char *directory;
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

FILE *open_attribute(const char *path, const char *attribute, const char *mode)
{
	const char *name = strrchr(path, '/');
	char attr[128];

	snprintf(attr, sizeof(attr), "/sys/block/%s/%s",
		 name ? name + 1 : path, attribute);
	return fopen(attr, mode);
}

long device_attribute(const char *path, const char *attribute)
{
	FILE *file = open_attribute(path, attribute, "r");
	long number = -1;

	if (file) {
		if (fscanf(file, "%ld", &number) != 1)
			number = -1;
		fclose(file);
	}
	return number;
}

unsigned int device_depth(const char *path)
{
	long depth = device_attribute(path, "queue/nr_requests");

	return depth > 0 ? (unsigned int)depth : 0;
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

aio_context_t mapped_context(unsigned int nr, unsigned int flags,
			     struct iocb *iocbs)
{
	aio_context_t ctx = 0;
	long ret = sys_io_setup2(nr, flags | USERIOCB, iocbs, NULL, NULL, &ctx);

	if (ret) {
		printf("# no context: %s\n", strerror((int)-ret));
		fflush(stdout);
		_exit(FAIL);
	}
	return ctx;
}

long setup_fixed(unsigned int nr, unsigned int flags, struct iocb *iocbs,
		 aio_context_t *ctx)
{
	*ctx = 0;
	return sys_io_setup2(nr, flags | USERIOCB | FIXEDBUFS, iocbs, NULL,
			     NULL, ctx);
}

void give_buffers(struct iocb *iocbs, unsigned int nr, size_t len)
{
	int fd = open_device();
	unsigned int i;

	for (i = 0; i < nr; i++)
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(len), len, 0);
}

long submit_reads(aio_context_t ctx, int fd, unsigned int nr)
{
	static struct iocb iocbs[MANY];
	struct iocb *ptrs[MANY];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		iocbs[i].aio_data = i;
		ptrs[i] = &iocbs[i];
	}
	return sys_io_submit(ctx, nr, ptrs);
}

long submit_slow_read(aio_context_t ctx)
{
	static struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD,
		   open_path(slow_device, O_RDWR | O_DIRECT), pages(SPLIT_LEN),
		   SPLIT_LEN, 0);
	return submit1(ctx, &iocb);
}

static void on_alarm(int sig)
{
	(void)sig;
}

void alarm_in_50_ms(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value = { 0, 50000 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

void become(unsigned int user)
{
	if (setgroups(0, NULL) || setgid(user) || setuid(user)) {
		printf("# cannot become user %u: %s\n", user, strerror(errno));
		fflush(stdout);
		_exit(FAIL);
	}
}

int expect_success(pid_t child, double limit)
{
	double start = now();
	int status;

	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK(now() - start < limit, "it took %.3f s", now() - start);
	return PASS;
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
		"usage: %s [-l] [-k FILTER] DEVICE [SLOW|- [UNPOLLABLE|- [SHALLOW]]]\n"
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
	if (optind + 2 < argc && strcmp(argv[optind + 2], "-"))
		unpollable_device = argv[optind + 2];
	if (optind + 3 < argc)
		shallow_device = argv[optind + 3];

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
		ADD(tag_cases);
		ADD(buffer_cases);
		ADD(limit_cases);
		ADD(race_cases);
		ADD(life_cases);
		ADD(trace_cases);
		ADD(old_cases);
	}
	for (i = 0; list && i < nr; i++)
		if (!filter || strstr(cases[i].name, filter))
			puts(cases[i].name);
	return list ? 0 : ktap_run(cases, nr, filter);
}
