# How everything is compiled: C17 without extensions, hidden symbols, the strictest warnings that gcc 12 to 14 and
# clang 14 agree on.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# No NDEBUG anywhere: an assertion that fails ends a lock service in production too, and frame pointers let perf and
# core dumps of a release be read.
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -fno-omit-frame-pointer -fstack-protector-strong -D_FORTIFY_SOURCE=2")

set(lockstep_warnings
    -Wall -Wextra -Wpedantic
    -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wcast-align -Wdouble-promotion
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wmissing-declarations -Wredundant-decls -Wnested-externs
    -Wformat=2 -Wundef -Wpointer-arith -Wwrite-strings -Wimplicit-fallthrough -Wvla -Wdate-time)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND lockstep_warnings -Wlogical-op -Wduplicated-cond -Walloca -Wformat-overflow=2 -Wformat-truncation=1)
else()
    list(APPEND lockstep_warnings -Wmissing-variable-declarations -Wcomma -Wunreachable-code-break
        -Wno-string-conversion) # a condition may carry its explanation: x && "why"
endif()

set(lockstep_sanitizers "")
if(LOCKSTEP_ASAN)
    list(APPEND lockstep_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)
endif()
if(LOCKSTEP_TSAN)
    list(APPEND lockstep_sanitizers -fsanitize=thread)
endif()
if(LOCKSTEP_FUZZ)
    list(APPEND lockstep_sanitizers -fsanitize=fuzzer-no-link)
endif()
if(lockstep_sanitizers)
    add_compile_options(${lockstep_sanitizers} -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls)
    add_link_options(${lockstep_sanitizers})
    # Instrumented code confuses gcc's flow analysis; the other builds keep these two warnings.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        list(APPEND lockstep_warnings -Wno-maybe-uninitialized -Wno-stringop-overflow)
    endif()
endif()
if(LOCKSTEP_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic)
    add_link_options(--coverage)
endif()

add_link_options(-Wl,--as-needed)
if(NOT LOCKSTEP_FUZZ AND NOT LOCKSTEP_ASAN AND NOT LOCKSTEP_TSAN)
    add_link_options(-Wl,-z,relro,-z,now)
endif()

function(lockstep_compile target)
    target_compile_options(${target} PRIVATE
        ${lockstep_warnings} $<$<BOOL:${LOCKSTEP_WERROR}>:-Werror>
        # __FILE__ in messages reads protocol/frame.c, the same on every machine.
        "-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=")
endfunction()

# Empty rather than 1, so that a source file which says "#define _GNU_SOURCE" itself means the same.
function(lockstep_gnu_source target)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE=)
endfunction()
