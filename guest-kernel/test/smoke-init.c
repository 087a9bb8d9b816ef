// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of the smoke test's root disk: says that user space runs, and powers off. Without any
 * library, so that the disk stays small. Where KVM interprets supervisor code, its first system
 * call fails.
 */
#define SYS_write	1
#define SYS_reboot	169

#define REBOOT_MAGIC1	0xfee1dead
#define REBOOT_MAGIC2	672274793
#define REBOOT_POWEROFF	0x4321fedc

static long call3(long number, long one, long two, long three)
{
	long result;

	__asm__ volatile ("syscall"
			  : "=a" (result)
			  : "a" (number), "D" (one), "S" (two), "d" (three)
			  : "rcx", "r11", "memory");
	return result;
}

void _start(void)
{
	static const char words[] = "hipri-smoke: user space runs\n";

	call3(SYS_write, 1, (long)words, sizeof(words) - 1);
	call3(SYS_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWEROFF);
	for (;;)
		;
}
