import { defineConfig } from 'vitest/config'

// Pages in a real browser. Apart from the others, as not every machine has one.
export default defineConfig({
  test: {
    include: ['test/ui/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 1,
  },
})
