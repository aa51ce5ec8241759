# Links one instruction set's objects into OBJECT and makes every symbol but its table local. Run by CMakeLists.txt.
string(REPLACE "|" ";" OBJECTS "${OBJECTS}")
execute_process(COMMAND ${LINKER} -r --force-group-allocation -o ${OBJECT} ${OBJECTS} COMMAND_ERROR_IS_FATAL ANY)

# A relocatable link does not mind missing functions, so look here: an op of ops.def that this backend does not define.
execute_process(COMMAND ${NM} -uC ${OBJECT} OUTPUT_VARIABLE undefined COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "tilewise::cpu::${ISA}::[^\n]*" missing "${undefined}")
if(missing)
  string(REPLACE ";" "\n  " missing "${missing}")
  message(FATAL_ERROR "the cpu backend lacks:\n  ${missing}")
endif()

execute_process(COMMAND ${OBJCOPY} --keep-global-symbol=tilewise_cpu_table_${ISA} ${OBJECT} COMMAND_ERROR_IS_FATAL ANY)
