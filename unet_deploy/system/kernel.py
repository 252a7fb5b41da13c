"""What each system does in a way of its own: one set of functions, of POSIX or of Windows."""

import sys

if sys.platform == "win32":
    from unet_deploy.system.windows import (
        CUDA_DRIVER,
        attribute_of,
        fault_of_name,
        is_own,
        longest_path,
        name_open,
        open_no_link,
        peak_memory,
        put_attribute,
        remove_folder_of,
        remove_open,
        rename_folder,
        set_mode,
        sync_data,
        sync_folder,
        take_room,
        try_lock,
        wait_for_lock,
    )
else:
    from unet_deploy.system.posix import (
        CUDA_DRIVER,
        attribute_of,
        fault_of_name,
        is_own,
        longest_path,
        name_open,
        open_no_link,
        peak_memory,
        put_attribute,
        remove_folder_of,
        remove_open,
        rename_folder,
        set_mode,
        sync_data,
        sync_folder,
        take_room,
        try_lock,
        wait_for_lock,
    )

__all__ = [
    "CUDA_DRIVER",
    "attribute_of",
    "fault_of_name",
    "is_own",
    "longest_path",
    "name_open",
    "open_no_link",
    "peak_memory",
    "put_attribute",
    "remove_folder_of",
    "remove_open",
    "rename_folder",
    "set_mode",
    "sync_data",
    "sync_folder",
    "take_room",
    "try_lock",
    "wait_for_lock",
]
