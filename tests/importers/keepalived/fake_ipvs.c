/* Stands in for the kernel's IPVS in a run of keepalived, which sends its table over libnl's generic netlink.
 *
 * Preload it (LD_PRELOAD): every message to IPVS is acknowledged, and appended in hexadecimal, a line each, to the file
 * that FAKE_IPVS_LOG names. keepalived sends nothing else over libnl as long as it runs its checkers only.
 */

#include <stdio.h>
#include <stdlib.h>

struct nl_msg;
struct nl_sock;
struct nlmsghdr {
	unsigned length;
};

typedef int (*callback)(struct nl_msg *, void *);

enum { NL_CB_ACK = 4, FAMILY = 30 };

struct nlmsghdr *nlmsg_hdr(struct nl_msg *message);

static callback acknowledge;
static void *argument;

int genl_connect(struct nl_sock *socket)
{
	(void)socket;
	return 0;
}

int genl_ctrl_resolve(struct nl_sock *socket, const char *name)
{
	(void)socket;
	(void)name;
	return FAMILY;
}

int nl_socket_modify_cb(struct nl_sock *socket, int type, int kind, callback function, void *data)
{
	(void)socket;
	(void)kind;
	if (type == NL_CB_ACK) {
		acknowledge = function;
		argument = data;
	}
	return 0;
}

int nl_send_auto(struct nl_sock *socket, struct nl_msg *message)
{
	const struct nlmsghdr *header = nlmsg_hdr(message);
	const unsigned char *bytes = (const unsigned char *)header;
	FILE *log = fopen(getenv("FAKE_IPVS_LOG"), "a");

	(void)socket;
	if (!log)
		abort();
	for (unsigned i = 0; i < header->length; i++)
		fprintf(log, "%02x", bytes[i]);
	fputc('\n', log);
	fclose(log);
	return (int)header->length;
}

int nl_recvmsgs_default(struct nl_sock *socket)
{
	(void)socket;
	if (acknowledge)
		acknowledge(NULL, argument);
	return 0;
}
