# liblockstep as it is built for strangers and installed: both libraries, the header, a pkg-config file and a CMake package.
#
#   lockstep_public_library(PARTS <target>... HEADER <file> NEEDS <dependency>...)
#       Makes the targets liblockstep (shared) and liblockstep_static out of the objects of PARTS, which are libraries
#       made by lockstep_library(), and installs them. NEEDS names the dependencies (uv, lz4, ...; see
#       Dependencies.cmake) that a program which links the static library has to link as well. For example:
#
#       lockstep_public_library(PARTS lockstep_client lockstep_protocol HEADER include/lockstep.h NEEDS uv lz4 msgpack)
#
# Programs of this repository that use the library as strangers do link liblockstep and include <lockstep.h>.
# Only what the header marks for export is visible, in the shared library and in the static one: an archive of the parts'
# objects would give its internal names to the program that links it, which may have functions of the same names.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# Raised when a program that was linked against the library would no longer run with it.
set(lockstep_soversion 0)
set(lockstep_template_directory "${CMAKE_CURRENT_LIST_DIR}")

# One object of all OBJECTS, in which what is hidden to a shared library's users is local. gcc makes real code of it even if
# the objects were compiled with -flto.
function(lockstep_hiding_object output objects)
    if(NOT CMAKE_OBJCOPY)
        lockstep_refuse("objcopy is missing, which hides the static library's internal names: install binutils.")
    endif()
    set(joined "${CMAKE_CURRENT_BINARY_DIR}/joined.o")
    set(real_code "")
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        set(real_code -flinker-output=nolto-rel)
    endif()
    add_custom_command(OUTPUT "${output}"
        COMMAND "${CMAKE_C_COMPILER}" -r -nostdlib ${real_code} -o "${joined}" ${objects}
        COMMAND "${CMAKE_OBJCOPY}" --localize-hidden "${joined}" "${output}"
        DEPENDS ${objects} BYPRODUCTS "${joined}" COMMENT "Hiding the static library's internal names"
        COMMAND_EXPAND_LISTS VERBATIM)
    set_source_files_properties("${output}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
endfunction()

function(lockstep_public_library)
    cmake_parse_arguments(PARSE_ARGV 0 ARG "" "HEADER" "PARTS;NEEDS")
    lockstep_check_arguments(liblockstep)
    set(objects "")
    foreach(part IN LISTS ARG_PARTS)
        list(APPEND objects "$<TARGET_OBJECTS:${part}>")
    endforeach()
    set(needed_libraries "")
    foreach(need IN LISTS ARG_NEEDS)
        if(NOT ${need}_FOUND)
            lockstep_refuse("lockstep_public_library: NEEDS names \"${need}\", which is no dependency.")
        endif()
        list(APPEND needed_libraries ${${need}_LIBRARIES})
    endforeach()
    list(APPEND needed_libraries pthread)
    list(REMOVE_DUPLICATES needed_libraries)
    cmake_path(ABSOLUTE_PATH ARG_HEADER BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
    cmake_path(GET ARG_HEADER PARENT_PATH include)

    add_library(liblockstep SHARED ${objects})
    lockstep_hiding_object("${CMAKE_CURRENT_BINARY_DIR}/lockstep.o" "${objects}")
    add_library(liblockstep_static STATIC "${CMAKE_CURRENT_BINARY_DIR}/lockstep.o")
    foreach(target liblockstep liblockstep_static)
        set_target_properties(${target} PROPERTIES
            OUTPUT_NAME lockstep LINKER_LANGUAGE C
            ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib" LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
        target_include_directories(${target} INTERFACE
            "$<BUILD_INTERFACE:${include}>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
    endforeach()
    # The parts for what they link in turn; their own objects are all there already and are not taken twice.
    target_link_libraries(liblockstep PRIVATE ${ARG_PARTS})
    target_link_options(liblockstep PRIVATE $<$<NOT:$<OR:$<BOOL:${LOCKSTEP_ASAN}>,$<BOOL:${LOCKSTEP_TSAN}>>>:-Wl,--no-undefined>)
    target_link_libraries(liblockstep_static INTERFACE
        "$<BUILD_INTERFACE:${ARG_PARTS}>" "$<INSTALL_INTERFACE:${needed_libraries}>")
    set_target_properties(liblockstep PROPERTIES
        VERSION "${PROJECT_VERSION}" SOVERSION "${lockstep_soversion}" EXPORT_NAME lockstep)
    set_target_properties(liblockstep_static PROPERTIES EXPORT_NAME lockstep_static)
    lockstep_install_library("${ARG_HEADER}" "${needed_libraries}")
endfunction()

function(lockstep_install_library header needed_libraries)
    set(package "${CMAKE_INSTALL_LIBDIR}/cmake/lockstep")
    install(FILES "${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    install(TARGETS liblockstep liblockstep_static EXPORT lockstep_targets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT lockstep_targets NAMESPACE Lockstep:: FILE lockstep-targets.cmake DESTINATION "${package}")

    configure_package_config_file("${lockstep_template_directory}/lockstep-config.cmake.in"
        "${CMAKE_BINARY_DIR}/lockstep-config.cmake" INSTALL_DESTINATION "${package}" NO_SET_AND_CHECK_MACRO)
    write_basic_package_version_file("${CMAKE_BINARY_DIR}/lockstep-config-version.cmake" COMPATIBILITY SameMinorVersion)
    install(FILES "${CMAKE_BINARY_DIR}/lockstep-config.cmake" "${CMAKE_BINARY_DIR}/lockstep-config-version.cmake"
        DESTINATION "${package}")

    # Relative to where the file itself lies, so that an installation can be moved.
    set(pkgconfig "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
    cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig"
        OUTPUT_VARIABLE pkgconfig_to_prefix)
    list(TRANSFORM needed_libraries PREPEND "-l" OUTPUT_VARIABLE private_libraries)
    list(JOIN private_libraries " " private_libraries)
    configure_file("${lockstep_template_directory}/lockstep.pc.in" "${CMAKE_BINARY_DIR}/lockstep.pc" @ONLY)
    install(FILES "${CMAKE_BINARY_DIR}/lockstep.pc" DESTINATION "${pkgconfig}")
endfunction()
