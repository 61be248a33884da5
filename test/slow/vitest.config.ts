import { defineConfig } from 'vitest/config'

// Audits, recoveries and ends of logs through the real command line: minutes of starting and stopping, apart from the others.
export default defineConfig({
  test: {
    include: ['test/slow/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    globalSetup: ['test/support/postgres-global.ts'],
  },
})
