#!/usr/bin/env node
// Stands for nvidia-smi: a reading every 5 ms, the clock rising to 1980 MHz.
if (!process.argv.some(argument => argument.startsWith('--query-gpu=clocks.sm,'))) process.exit(2)
let sm = 1500
const timer = setInterval(() => {
  sm = Math.min(1980, sm + 160)
  console.log(`${sm}, 3201, ${sm === 1980 ? '655.20' : '[N/A]'}, 41, 0x0000000000000004`)
}, 5)
process.on('SIGTERM', () => clearInterval(timer))
