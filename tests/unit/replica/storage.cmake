# Tests of what touches files: log, metadata, snapshots, real disk.
set(fake fake_disk.c fake_disk_files.c)
lockstep_test(log_random SOURCES test_log_random.c ${fake} LINK lockstep_storage lockstep_test_tools TIMEOUT 120)
lockstep_test(log SOURCES test_log.c log_fixture.c ${fake} LINK lockstep_storage lockstep_test_tools)
lockstep_test(log_recovery SOURCES test_log_recovery.c log_fixture.c ${fake} LINK lockstep_storage lockstep_test_tools)
lockstep_test(metadata SOURCES test_metadata.c ${fake} LINK lockstep_storage lockstep_test_tools)
lockstep_test(snapshots SOURCES test_snapshots.c ${fake} LINK lockstep_storage lockstep_test_tools)
lockstep_test(log_format SOURCES test_log_format.c LINK lockstep_storage)
lockstep_test(disk_real SOURCES test_disk_real.c LINK lockstep_storage LABELS unit tsan)
