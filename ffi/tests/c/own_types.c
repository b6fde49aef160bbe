/* An application that brings its own basic types and codes, as a Windows compatibility layer does. */
#include <stdint.h>

#ifndef OWN_ULONG
#define OWN_ULONG unsigned int
#endif

typedef unsigned int DWORD, *PDWORD;
typedef int INT;
typedef unsigned int UINT, *PUINT;
typedef OWN_ULONG ULONG, *PULONG;
typedef uint64_t ULONGLONG;
typedef unsigned short USHORT;
typedef unsigned char UCHAR, *PUCHAR;
typedef int BOOL;
typedef void *PVOID;
typedef void *HANDLE;
#define VOID void
#define WINAPI
#define FALSE 0
#define TRUE 1
#define NO_ERROR 0
#define ERROR_FILE_NOT_FOUND 2
#define ERROR_ACCESS_DENIED 5
#define ERROR_INVALID_HANDLE 6
#define ERROR_NOT_ENOUGH_MEMORY 8
#define ERROR_INVALID_DATA 13
#define ERROR_NOT_SUPPORTED 50
#define ERROR_INVALID_PARAMETER 87
#define ERROR_INSUFFICIENT_BUFFER 122
#define ERROR_NOT_LOCKED 158
#define ERROR_BUSY 170
#define ERROR_ALREADY_EXISTS 183
#define ERROR_POSSIBLE_DEADLOCK 1131
#define ERROR_INTERNAL_ERROR 1359
#define ERROR_NO_SYSTEM_RESOURCES 1450
#define ERROR_BAD_CONFIGURATION 1610
#define ERROR_INVALID_STATE 5023

#define RTM_NO_BASIC_TYPES
#include "rtmv2.h"

DWORD ask(RTM_ENTITY_HANDLE self, PRTM_ENTITY_INFO info);

DWORD ask(RTM_ENTITY_HANDLE self, PRTM_ENTITY_INFO info)
{
    return RtmGetEntityInfo(self, self, info) == ERROR_INVALID_HANDLE ? NO_ERROR : ERROR_BUSY;
}
