# One folder, one static library. PUBLIC names what our headers include of others, LIBS what only
# our sources need.
#
#   millrace_module(batcher
#     SOURCES batcher.cc
#     USES core
#     LIBS CURL::libcurl)

add_library(millrace_flags INTERFACE)
target_compile_options(millrace_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wnon-virtual-dtor -Woverloaded-virtual)
target_include_directories(millrace_flags INTERFACE ${PROJECT_SOURCE_DIR})

function(millrace_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;LIBS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "millrace_module(${name}): unknown words ${arg_UNPARSED_ARGUMENTS}")
  endif()
  list(TRANSFORM arg_USES PREPEND millrace_)
  if(arg_SOURCES)
    add_library(millrace_${name} STATIC ${arg_SOURCES})
    target_link_libraries(millrace_${name} PUBLIC millrace_flags ${arg_USES} PRIVATE ${arg_LIBS})
  else()
    add_library(millrace_${name} INTERFACE)
    target_link_libraries(millrace_${name} INTERFACE millrace_flags ${arg_USES} ${arg_LIBS})
  endif()
endfunction()

# One test program per folder under tests/; ctest sees each TEST by its own name.
function(millrace_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;USES;LIBS")
  list(TRANSFORM arg_USES PREPEND millrace_)
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE millrace_flags ${arg_USES} ${arg_LIBS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE MILLRACE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${arg_TIMEOUT})
endfunction()
