/*
 * What a protocol in a module of its own offers to its host.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef EXAMPLE_PLUGIN_H
#define EXAMPLE_PLUGIN_H

#include <rtmv2.h>

/* Its method: answers with an unsigned, how many others it has seen come. */
#define METHOD_SEEN 0x00000001u

/* Each is exported under the name in the comment, and answers with a code. */
typedef DWORD plugin_start_function(RTM_ENTITY_HANDLE *handle); /* plugin_start: registers the protocol */
typedef DWORD plugin_stop_function(void); /* plugin_stop: after it none of its methods and callbacks runs */

#endif
