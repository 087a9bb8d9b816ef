// SPDX-License-Identifier: GPL-2.0-only
/* io_setup2(): arguments, limits, and what it does to the ring. */
#include "tests.h"

/* The first words of the ring, which user space may look at. */
struct ring {
	unsigned int id, nr, head, tail, magic;
};

#define RING_MAGIC	0xa10a10a1U

static int setup_without_flags_is_io_setup(void)
{
	aio_context_t ctx = 0;
	struct io_event event;
	struct iocb iocb;
	char *buf = pages(BLOCK);

	CHECK_EQ(sys_io_setup2(8, 0, NULL, NULL, NULL, &ctx), 0);
	CHECK_EQ(((struct ring *)ctx)->magic, RING_MAGIC);
	prep(&iocb, IOCB_CMD_PREAD, open_device(), buf, BLOCK, 0);
	iocb.aio_data = 42;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(event.data, 42);
	CHECK(event.obj == (uintptr_t)&iocb, "not the address");
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int setup_unknown_flag_einval(void)
{
	aio_context_t ctx = 0;
	int bit;

	for (bit = 3; bit < 32; bit++) {
		CHECK_EQ(sys_io_setup2(8, 1U << bit, NULL, NULL, NULL, &ctx),
			 -EINVAL);
		CHECK_EQ(sys_io_setup2(8, IOPOLL | 1U << bit, NULL, NULL, NULL,
				       &ctx), -EINVAL);
	}
	CHECK_EQ(ctx, 0);
	return PASS;
}

static int setup_flags_are_checked_before_pointers(void)
{
	CHECK_EQ(sys_io_setup2(8, 1U << 31, NULL, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(sys_io_setup2(8, FIXEDBUFS, NULL, NULL, NULL, NULL), -EINVAL);
	return PASS;
}

static int setup_fixedbufs_without_useriocb_einval(void)
{
	void *iocbs = pages(PAGE);
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(8, FIXEDBUFS, iocbs, NULL, NULL, &ctx), -EINVAL);
	CHECK_EQ(sys_io_setup2(8, FIXEDBUFS | IOPOLL, iocbs, NULL, NULL, &ctx),
		 -EINVAL);
	return PASS;
}

static int setup_reserved_pointers_einval(void)
{
	aio_context_t ctx = 0;
	char any;

	CHECK_EQ(sys_io_setup2(8, 0, NULL, &any, NULL, &ctx), -EINVAL);
	CHECK_EQ(sys_io_setup2(8, 0, NULL, NULL, &any, &ctx), -EINVAL);
	CHECK_EQ(sys_io_setup2(8, IOPOLL, NULL, &any, &any, &ctx), -EINVAL);
	return PASS;
}

static int setup_context_not_zero_einval(void)
{
	aio_context_t ctx = 1;

	CHECK_EQ(sys_io_setup2(8, IOPOLL, NULL, NULL, NULL, &ctx), -EINVAL);
	CHECK_EQ(ctx, 1);
	return PASS;
}

static int setup_no_events_einval(void)
{
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(0, IOPOLL, NULL, NULL, NULL, &ctx), -EINVAL);
	CHECK_EQ(sys_io_setup2(0, 0, NULL, NULL, NULL, &ctx), -EINVAL);
	return PASS;
}

static int setup_too_many_events(void)
{
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(0x10000000, IOPOLL, NULL, NULL, NULL, &ctx),
		 -EINVAL);
	/* Below the internal limit, above the default of aio-max-nr */
	CHECK_EQ(sys_io_setup2(0x200000, IOPOLL, NULL, NULL, NULL, &ctx),
		 -EAGAIN);
	return PASS;
}

static int setup_bad_ctxp_efault(void)
{
	char *mem = pages(PAGE);

	CHECK_EQ(sys_io_setup2(8, IOPOLL, NULL, NULL, NULL, NULL), -EFAULT);
	CHECK_EQ(sys_io_setup2(8, IOPOLL, NULL, NULL, NULL,
			       (aio_context_t *)(mem + PAGE)), -EFAULT);
	return PASS;
}

static int setup_read_only_ctxp_leaves_nothing(void)
{
	void *iocbs = pages(PAGE), *ctxp = pages(PAGE);

	mprotect(ctxp, PAGE, PROT_READ);
	CHECK_EQ(sys_io_setup2(8, IOPOLL | USERIOCB, iocbs, NULL, NULL, ctxp),
		 -EFAULT);
	/* The context is freed in the background */
	usleep(300000);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int setup_unaligned_iocbs_einval(void)
{
	char *iocbs = pages(2 * PAGE);
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(8, USERIOCB, iocbs + 64, NULL, NULL, &ctx),
		 -EINVAL);
	CHECK_EQ(sys_io_setup2(8, USERIOCB, iocbs + 1, NULL, NULL, &ctx),
		 -EINVAL);
	return PASS;
}

static int setup_unmapped_iocbs_efault(void)
{
	char *iocbs = pages(PAGE);
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(8, USERIOCB, iocbs + PAGE, NULL, NULL, &ctx),
		 -EFAULT);
	CHECK_EQ(sys_io_setup2(8, USERIOCB, NULL, NULL, NULL, &ctx), -EFAULT);
	return PASS;
}

static int setup_partly_mapped_iocbs_enomem(void)
{
	char *iocbs = pages(PAGE);
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(65, USERIOCB, iocbs, NULL, NULL, &ctx), -ENOMEM);
	CHECK_EQ(status_kib("VmPin"), 0);
	CHECK_EQ(sys_io_setup2(64, USERIOCB, iocbs, NULL, NULL, &ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 4);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int setup_polled_ring_has_another_magic(void)
{
	aio_context_t ctx = polled_context(8);
	struct ring *ring = (struct ring *)ctx;

	DEVIATION("the ring had the magic of all others",
		  "one of its own, or libaio would see no event");
	CHECK(ring->magic != RING_MAGIC, "libaio would not ask the kernel");
	CHECK_EQ(ring->head, ring->tail);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int setup_many_contexts_come_and_go(void)
{
	void *iocbs = pages(PAGE);
	int i;

	for (i = 0; i < 200; i++) {
		aio_context_t ctx = 0;

		CHECK_EQ(sys_io_setup2(64, IOPOLL | USERIOCB, iocbs, NULL, NULL,
				       &ctx), 0);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

/* All eight combinations, each with and without what it needs. */
static int setup_flags_in_all_combinations(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned int flags;

	give_buffers(iocbs, 8, BLOCK);
	for (flags = 0; flags < 8; flags++) {
		bool valid = !(flags & FIXEDBUFS) || (flags & USERIOCB);
		struct io_event event;
		aio_context_t ctx = 0;
		struct iocb *iocb;

		CHECK_EQ(sys_io_setup2(8, flags, iocbs, NULL, NULL, &ctx),
			 valid ? 0 : -EINVAL);
		if (!valid) {
			CHECK_EQ(ctx, 0);
			continue;
		}
		iocb = flags & USERIOCB ? slot(5) : &iocbs[5];
		iocbs[5].aio_flags = flags & IOPOLL ? IOCB_FLAG_HIPRI : 0;
		CHECK_EQ(submit1(ctx, iocb), 1);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, (long)BLOCK);
		CHECK_EQ(event.obj, (uintptr_t)iocb);
		/* The other kind of iocb is refused, whatever the kind. */
		iocbs[5].aio_flags ^= IOCB_FLAG_HIPRI;
		CHECK_EQ(submit1(ctx, iocb), -EINVAL);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int setup_iocbs_are_ignored_without_useriocb(void)
{
	aio_context_t ctx = 0;

	CHECK_EQ(sys_io_setup2(8, 0, (void *)1, NULL, NULL, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	ctx = 0;
	CHECK_EQ(sys_io_setup2(8, IOPOLL, (void *)~0UL, NULL, NULL, &ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* 64 iocbs are a page. */
static int setup_pins_as_many_pages_as_needed(void)
{
	static const unsigned int nrs[] = { 1, 64, 65, 128, 129, 640 };
	struct iocb *iocbs = pages(10 * PAGE);
	unsigned int i;

	for (i = 0; i < sizeof(nrs) / sizeof(nrs[0]); i++) {
		aio_context_t ctx = mapped_context(nrs[i], IOPOLL, iocbs);

		CHECK_EQ(status_kib("VmPin"), (nrs[i] + 63) / 64 * 4);
		CHECK_EQ(submit1(ctx, slot(nrs[i])), -EINVAL);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

/* Pages that somebody has pinned and not given back, in the whole system. */
static long pinned_pages(void)
{
	char name[64];
	FILE *file;
	long pinned = 0, count;

	/* With several processors, counts are gathered now and then only. */
	file = fopen("/proc/sys/vm/stat_refresh", "w");
	if (file) {
		fputs("1", file);
		fclose(file);
	}
	file = fopen("/proc/vmstat", "r");
	while (file && fscanf(file, "%63s %ld", name, &count) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			pinned += count;
		if (!strcmp(name, "nr_foll_pin_released"))
			pinned -= count;
	}
	if (file)
		fclose(file);
	return pinned;
}

/* Not only what is accounted: the pages themselves. */
static int setup_pins_end_with_the_context(void)
{
	struct iocb *iocbs = pages(4 * PAGE);
	long before = pinned_pages();
	aio_context_t ctx;

	ctx = mapped_context(256, IOPOLL, iocbs);
	CHECK_EQ(pinned_pages() - before, 4);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(pinned_pages() - before, 0);

	give_buffers(iocbs, 64, 2 * BLOCK);
	CHECK_EQ(setup_fixed(64, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(pinned_pages() - before, 1 + 128);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(pinned_pages() - before, 0);

	/* One whose last buffer cannot be pinned leaves nothing either. */
	iocbs[63].aio_buf += BLOCK;
	CHECK_EQ(setup_fixed(64, IOPOLL, iocbs, &ctx), -ENOMEM);
	CHECK_EQ(pinned_pages() - before, 0);
	return PASS;
}

static int setup_one_array_for_two_contexts(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t one = mapped_context(8, IOPOLL, iocbs);
	aio_context_t two = mapped_context(64, 0, iocbs);
	struct io_event event;

	prep_hipri(&iocbs[7], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	CHECK_EQ(submit1(one, slot(7)), 1);
	CHECK_PASS(reap(one, 1, &event));
	CHECK_EQ(sys_io_destroy(one), 0);
	iocbs[7].aio_flags = 0;
	CHECK_EQ(submit1(two, slot(7)), 1);
	CHECK_PASS(reap(two, 1, &event));
	CHECK_EQ(sys_io_destroy(two), 0);
	return PASS;
}

const struct test_case setup_cases[] = {
	CASE(setup_flags_in_all_combinations),
	CASE(setup_iocbs_are_ignored_without_useriocb),
	CASE(setup_pins_as_many_pages_as_needed),
	CASE(setup_pins_end_with_the_context),
	CASE(setup_one_array_for_two_contexts),
	CASE(setup_without_flags_is_io_setup),
	CASE(setup_unknown_flag_einval),
	CASE(setup_flags_are_checked_before_pointers),
	CASE(setup_fixedbufs_without_useriocb_einval),
	CASE(setup_reserved_pointers_einval),
	CASE(setup_context_not_zero_einval),
	CASE(setup_no_events_einval),
	CASE(setup_too_many_events),
	CASE(setup_bad_ctxp_efault),
	CASE(setup_read_only_ctxp_leaves_nothing),
	CASE(setup_unaligned_iocbs_einval),
	CASE(setup_unmapped_iocbs_efault),
	CASE(setup_partly_mapped_iocbs_enomem),
	CASE(setup_polled_ring_has_another_magic),
	CASE(setup_many_contexts_come_and_go),
};
TABLE(setup_cases);
