# How a folder declares what it builds. All paths are relative to the folder's CMakeLists.txt.
#
#   lockstep_library(<target> [PURE] SOURCES <file>... [PUBLIC_LINK <target>...] [PRIVATE_LINK <target>...]
#                    [INCLUDE <dir>...] [SEES <header>...])
#       A static library (position independent). PURE compiles it as plain ISO C, without _GNU_SOURCE.
#       INCLUDE adds directories of the folder to the include path of the library and of all who link it.
#       SEES names single headers of other folders that belong to no library of their own.
#
#   lockstep_executable(<target> SOURCES <file>... [LINK <target>...] [INSTALL])
#       A program, built in <build>/bin; with INSTALL it is installed.
#
#   lockstep_test(<name> SOURCES <file>... [LINK <target>...] [LABELS <label>...] [TIMEOUT <seconds>] [ARGS <arg>...])
#       A cmocka program <build>/tests/test_<name>, registered with ctest. The label is "unit" if none is given, the
#       time limit 60 seconds.
#
#   lockstep_command_test(<name> COMMAND <command>... [LABELS <label>...] [TIMEOUT <seconds>])
#       The same, label and time limit included, for any other program, such as a script or $<TARGET_FILE:lockstepd>.
#
#   lockstep_fuzzer(<name> SOURCES <file>... [LINK <target>...] [CORPUS <dir>])
#       A file with LLVMFuzzerTestOneInput(), built to <build>/tests/fuzz_<name>. With LOCKSTEP_FUZZ it is a libFuzzer
#       program; in every build it is a test that runs each file of CORPUS through the function once.
#
#   lockstep_public_library(PARTS <target>... HEADER <file> NEEDS <dependency>...)
#       liblockstep, shared and static, with what an installation needs: see InstallLibrary.cmake.
#
# Labels, as tests/run chooses by them; another one is refused, as no step would run the test:
#
#   unit      with the sanitizers asan, and in the release build
#   tsan      beside "unit": with the thread sanitizer too
#   fuzz      beside "unit", or alone: in the fuzz build
#   sim, torture, mutants   in the release build only
#   system    real processes, one test at a time, with asan
#   smoke     beside "system": in the release build too
#   tidy      about the source itself, once
#   install   in the release build only
#   bench, long   only when asked for by name
#
# A test's environment has LOCKSTEP_SOURCE_DIR and LOCKSTEP_BINARY_DIR; it ends with 77 to say that it was skipped.
#
# Includes are written from the repository's root: #include "protocol/message.h". A target sees its own folder and
# those of the targets that it links (and of those that these link publicly), and nothing else: each target has a
# directory <build>/include/<target>/ which holds a link to its own folder, and only that directory is on the path.
# So an arrow that is not in the link lists does not compile. For example:
#
#   # raft_fsm/CMakeLists.txt
#   lockstep_library(lockstep_fsm PURE SOURCES apply.c lock.c PUBLIC_LINK lockstep_protocol PRIVATE_LINK PkgConfig::xxhash)
#
#   # node/replica/CMakeLists.txt
#   lockstep_library(lockstep_replica SOURCES log.c peer.c SEES ../time.h
#       PUBLIC_LINK lockstep_protocol PkgConfig::uv PRIVATE_LINK PkgConfig::raft)
#
#   # tests/unit/raft_fsm/CMakeLists.txt
#   lockstep_test(fsm_lock SOURCES lock_test.c LINK lockstep_fsm)

include(Compile)
include(InstallLibrary)
include(GNUInstallDirs)

# Add each of the folders that has a CMakeLists.txt.
function(lockstep_folders)
    foreach(folder IN LISTS ARGN)
        if(EXISTS "${CMAKE_SOURCE_DIR}/${folder}/CMakeLists.txt")
            add_subdirectory("${folder}")
        endif()
        # Joining the build later must reconfigure it, also when the file appears after this run.
        if(IS_DIRECTORY "${CMAKE_SOURCE_DIR}/${folder}")
            file(GLOB ignored CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/CMakeLists.txt")
        endif()
    endforeach()
endfunction()

# Refuse words that a caller wrote before the first keyword or misspelt: they would be dropped without a word.
macro(lockstep_check_arguments target)
    if(ARG_UNPARSED_ARGUMENTS)
        lockstep_refuse("${target}: these arguments mean nothing here: ${ARG_UNPARSED_ARGUMENTS}.")
    endif()
    if(ARG_KEYWORDS_MISSING_VALUES)
        lockstep_refuse("${target}: these keywords have no values: ${ARG_KEYWORDS_MISSING_VALUES}.")
    endif()
endmacro()

# Show a file or folder of the repository under the same path, seen from the root, in an include directory.
function(lockstep_link_into directory path)
    cmake_path(RELATIVE_PATH path BASE_DIRECTORY "${CMAKE_SOURCE_DIR}" OUTPUT_VARIABLE relative)
    cmake_path(GET relative PARENT_PATH parent)
    file(MAKE_DIRECTORY "${directory}/${parent}")
    file(CREATE_LINK "${path}" "${directory}/${relative}" SYMBOLIC)
endfunction()

# The directory that shows the calling folder and nothing else of the repository.
function(lockstep_include_directory target ret_directory)
    set(directory "${CMAKE_BINARY_DIR}/include/${target}")
    lockstep_link_into("${directory}" "${CMAKE_CURRENT_SOURCE_DIR}")
    set(${ret_directory} "${directory}" PARENT_SCOPE)
endfunction()

function(lockstep_library target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "PURE" "" "SOURCES;PUBLIC_LINK;PRIVATE_LINK;INCLUDE;SEES")
    lockstep_check_arguments(${target})
    add_library(${target} STATIC ${ARG_SOURCES})
    lockstep_include_directory(${target} directory)
    target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${directory}>")
    foreach(header IN LISTS ARG_SEES)
        cmake_path(ABSOLUTE_PATH header BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE file)
        lockstep_link_into("${directory}" "${file}")
    endforeach()
    foreach(include IN LISTS ARG_INCLUDE)
        target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/${include}>")
    endforeach()
    target_link_libraries(${target} PUBLIC ${ARG_PUBLIC_LINK} PRIVATE ${ARG_PRIVATE_LINK})
    lockstep_compile(${target})
    if(NOT ARG_PURE)
        lockstep_gnu_source(${target})
    endif()
endfunction()

# What programs and tests have in common.
function(lockstep_program target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LINK")
    add_executable(${target} ${ARG_SOURCES})
    lockstep_include_directory(${target} directory)
    target_include_directories(${target} PRIVATE "${directory}")
    target_link_libraries(${target} PRIVATE ${ARG_LINK})
    lockstep_compile(${target})
    lockstep_gnu_source(${target})
endfunction()

function(lockstep_executable target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "INSTALL" "" "SOURCES;LINK")
    lockstep_check_arguments(${target})
    lockstep_program(${target} SOURCES ${ARG_SOURCES} LINK ${ARG_LINK})
    # The installed program finds the library that was installed with it, wherever that is.
    set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin" INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    if(ARG_INSTALL)
        install(TARGETS ${target} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    endif()
endfunction()

set(lockstep_labels unit tsan fuzz sim torture mutants system smoke tidy install bench long)

# Time limit (60 seconds if it is empty), labels and environment of a registered test.
function(lockstep_test_properties name timeout labels)
    foreach(label IN LISTS labels)
        if(NOT label IN_LIST lockstep_labels)
            lockstep_refuse("${name}: there is no label ${label}; there are: ${lockstep_labels}.")
        endif()
    endforeach()
    if(NOT timeout)
        set(timeout 60)
    endif()
    set(environment
        "LOCKSTEP_SOURCE_DIR=${CMAKE_SOURCE_DIR}"
        "LOCKSTEP_BINARY_DIR=${CMAKE_BINARY_DIR}"
        "ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
        "UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1"
        "TSAN_OPTIONS=halt_on_error=1:abort_on_error=1:second_deadlock_stack=1")
    set_tests_properties(${name} PROPERTIES
        TIMEOUT "${timeout}" LABELS "${labels}" ENVIRONMENT "${environment}" SKIP_RETURN_CODE 77)
    # They measure time and start several processes each.
    if("system" IN_LIST labels OR "bench" IN_LIST labels)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

function(lockstep_test name)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "SOURCES;LINK;LABELS;ARGS")
    lockstep_check_arguments(${name})
    if(NOT ARG_LABELS)
        set(ARG_LABELS unit)
    endif()
    set(target "test_${name}")
    lockstep_program(${target} SOURCES ${ARG_SOURCES} LINK ${ARG_LINK} PkgConfig::cmocka)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    add_test(NAME ${name} COMMAND ${target} ${ARG_ARGS})
    lockstep_test_properties(${name} "${ARG_TIMEOUT}" "${ARG_LABELS}")
endfunction()

function(lockstep_command_test name)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "COMMAND;LABELS")
    lockstep_check_arguments(${name})
    if(NOT ARG_LABELS)
        set(ARG_LABELS unit)
    endif()
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    lockstep_test_properties(${name} "${ARG_TIMEOUT}" "${ARG_LABELS}")
endfunction()

function(lockstep_fuzzer name)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "CORPUS" "SOURCES;LINK")
    lockstep_check_arguments(${name})
    set(target "fuzz_${name}")
    if(LOCKSTEP_FUZZ)
        lockstep_program(${target} SOURCES ${ARG_SOURCES} LINK ${ARG_LINK})
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        lockstep_program(${target} SOURCES ${ARG_SOURCES} "${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c" LINK ${ARG_LINK})
    endif()
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    if(ARG_CORPUS)
        file(GLOB inputs CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS}/*")
        add_test(NAME ${target} COMMAND ${target} ${inputs})
        lockstep_test_properties(${target} 60 "unit;fuzz")
    endif()
endfunction()
