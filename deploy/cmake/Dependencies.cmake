# What comes from outside, all through pkg-config, each as an imported target PkgConfig::<name>:
#
#   uv lz4 msgpack raft jansson inih xxhash crypto      always
#   systemd                                             if LOCKSTEP_SYSTEMD; LOCKSTEP_HAVE_SYSTEMD says so
#   cmocka                                              if LOCKSTEP_TESTS
#
# deploy/install-deps installs them.

find_package(PkgConfig REQUIRED QUIET)
find_package(Threads REQUIRED)

# PkgConfig::<name> from the first of the given pkg-config modules that exists.
macro(lockstep_dependency name)
    pkg_search_module(${name} QUIET IMPORTED_TARGET ${ARGN})
    if(${name}_FOUND)
        lockstep_drop_relative_includes(PkgConfig::${name})
    else()
        list(APPEND lockstep_missing "${ARGV1}")
    endif()
endmacro()

# Debian 13's msgpack-c.pc says "includedir=include", which means nothing from any directory, and which CMake refuses.
function(lockstep_drop_relative_includes target)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(directories)
        list(FILTER directories INCLUDE REGEX "^/")
        set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${directories}")
    endif()
endfunction()

set(lockstep_missing "")
lockstep_dependency(uv libuv>=1.44)
lockstep_dependency(lz4 liblz4)
lockstep_dependency(msgpack msgpack-c msgpack) # Debian 13 says msgpack-c, Debian 12 says msgpack
lockstep_dependency(raft raft)
lockstep_dependency(jansson jansson)
lockstep_dependency(inih inih)
lockstep_dependency(xxhash libxxhash)
lockstep_dependency(crypto libcrypto>=3.0)
if(LOCKSTEP_TESTS)
    lockstep_dependency(cmocka cmocka>=1.1.5)
endif()
if(LOCKSTEP_SYSTEMD STREQUAL "ON")
    lockstep_dependency(systemd libsystemd)
elseif(LOCKSTEP_SYSTEMD STREQUAL "AUTO")
    pkg_search_module(systemd QUIET IMPORTED_TARGET libsystemd)
    if(NOT systemd_FOUND)
        message(STATUS "libsystemd is not there (libsystemd-dev, see deploy/install-deps): lockstepd will not tell systemd \
that it is ready, and deploy/lockstepd.service wants that; docs/operations.md says what to change in it")
    endif()
endif()
if(lockstep_missing)
    list(JOIN lockstep_missing ", " lockstep_missing)
    lockstep_refuse("pkg-config does not find ${lockstep_missing}: run deploy/install-deps.")
endif()
set(LOCKSTEP_HAVE_SYSTEMD "${systemd_FOUND}")

# libraft 0.15 commits entries of older terms by counting replicas (figure 8 of the Raft paper), so that an acknowledged
# grant can be lost; from 0.23 on, who owns entries and messages is settled differently. Both the pkg-config file and the
# header are asked, because two versions can be installed beside each other.
set(lockstep_raft_reason
    "Lockstep needs libraft >= 0.22.1 and < 0.23 (0.15 commits entries of older terms by counting replicas and can lose \
what it acknowledged), but")
if(raft_VERSION VERSION_LESS 0.22.1 OR raft_VERSION VERSION_GREATER_EQUAL 0.23)
    lockstep_refuse("${lockstep_raft_reason} pkg-config finds ${raft_VERSION}: run deploy/install-deps.")
endif()
include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::raft)
set(CMAKE_REQUIRED_QUIET ON)
unset(lockstep_raft_header_fits CACHE)
check_c_source_compiles("
    #include <raft.h>
    #if RAFT_VERSION_NUMBER < 2201 || RAFT_VERSION_NUMBER >= 2300
    #error another version
    #endif
    int main(void) { return raft_strerror(0) == 0; }" lockstep_raft_header_fits)
if(NOT lockstep_raft_header_fits)
    lockstep_refuse("${lockstep_raft_reason} the <raft.h> that the compiler finds is of another version: run deploy/install-deps.")
endif()
unset(CMAKE_REQUIRED_LIBRARIES)
unset(CMAKE_REQUIRED_QUIET)
