# liblockstep as it is installed; see lockstep_public_library() below.
#
#   lockstep_public_library(PARTS <target>... HEADER <file>)
#       Makes the targets liblockstep (shared) and liblockstep_static out of the objects of PARTS, which are libraries
#       made by lockstep_library(), the first of them the one with the public functions. Programs inside this
#       repository that should use the library as strangers do link liblockstep.

set(lockstep_soversion 0)

function(lockstep_public_library)
    cmake_parse_arguments(PARSE_ARGV 0 ARG "" "HEADER" "PARTS")
    lockstep_check_arguments(liblockstep)
    set(objects "")
    foreach(part IN LISTS ARG_PARTS)
        list(APPEND objects "$<TARGET_OBJECTS:${part}>")
    endforeach()
    add_library(liblockstep SHARED ${objects})
    add_library(liblockstep_static STATIC ${objects})
    cmake_path(ABSOLUTE_PATH ARG_HEADER BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
    cmake_path(GET ARG_HEADER PARENT_PATH include)
    foreach(target liblockstep liblockstep_static)
        set_target_properties(${target} PROPERTIES OUTPUT_NAME lockstep LINKER_LANGUAGE C)
        target_include_directories(${target} INTERFACE "$<BUILD_INTERFACE:${include}>")
        # The parts for what they need in turn; their own members are all there already and are not taken twice.
        target_link_libraries(${target} PRIVATE ${ARG_PARTS})
    endforeach()
    set_target_properties(liblockstep PROPERTIES VERSION "${PROJECT_VERSION}" SOVERSION "${lockstep_soversion}")
endfunction()
