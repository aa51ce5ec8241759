/** Ends the process after a wrong call, or where PyTorch is missing: the message behind the command's name, exit code 2. */
export function refuse(command: string, message: string): never {
  console.error(`${command}: ${message}`)
  process.exit(2)
}
