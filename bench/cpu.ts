import { readdirSync, readFileSync } from 'node:fs'

/** Kernel ticks a second (USER_HZ), which is 100 on every Linux that Node runs on. */
const TICKS = 100

/** CPU seconds that a process and its children have used so far; null where there is no /proc. */
export function cpuSecondsOf(parent: number): number | null {
  let total = 0
  try {
    for (const entry of readdirSync('/proc')) {
      if (!/^[0-9]+$/.test(entry)) continue
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
        // The name may hold spaces and brackets; what follows it does not.
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        const [ppid, user, system, waitedUser, waitedSystem] = [1, 11, 12, 13, 14].map((i) =>
          Number(fields[i]),
        )
        if (Number(entry) === parent) total += user! + system! + waitedUser! + waitedSystem!
        else if (ppid === parent) total += user! + system!
      } catch {
        // Ended since it was listed.
      }
    }
    return total / TICKS
  } catch {
    return null
  }
}
