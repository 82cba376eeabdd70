# The log, the metadata, the snapshots and the real disk: all of this folder that touches files, and nothing of raft.
find_package(Threads REQUIRED)

lockstep_library(lockstep_storage
    SOURCES
        crc32c.c
        disk_posix.c
        disk_real.c
        disk_thread.c
        log.c
        log_format.c
        log_prepare.c
        log_read.c
        log_recover.c
        log_table.c
        log_watermark.c
        log_write.c
        metadata.c
        snapshots.c
        snapshots_format.c
        snapshots_read.c
        snapshots_write.c
    PUBLIC_LINK lockstep_protocol PkgConfig::uv
    PRIVATE_LINK PkgConfig::xxhash Threads::Threads)
