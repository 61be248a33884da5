import { type Anvil, type AnvilOptions, startAnvil } from '../../anvil/anvil.ts'

/**
 * A fresh anvil on a free port with instant mining and no state file, unless told otherwise. The caller stops it
 * (`afterAll(() => anvil.stop())`); a run that dies takes it along.
 */
export function testAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  return startAnvil({ port: 0, ...options })
}
