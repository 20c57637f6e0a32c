import Testing

@testable import ObjectStore

@Suite("Background threads")
struct PaceTests {
    @Test("rest several times as long as they worked if they waited, and not at all if nobody wants their processor")
    func rests() {
        let millisecond: Int64 = 1_000_000
        #expect(Pace.rest(after: 2 * millisecond, waiting: 0) == 0)
        #expect(Pace.rest(after: 2 * millisecond, waiting: 50_000) == 0)
        #expect(Pace.rest(after: 2 * millisecond, waiting: 150_000) == 16 * millisecond)
        #expect(Pace.rest(after: 2 * millisecond, waiting: nil) == 16 * millisecond, "who knows")
        #expect(Pace.rest(after: .max, waiting: .max) == Pace.longestRest)
        #expect(Pace.rest(after: 50 * millisecond, waiting: 50 * millisecond) == Pace.longestRest)
    }

    @Test("are known by their pace, and no other thread is")
    func current() async {
        let executor = BackgroundExecutor(threads: 2)
        let isKnown = await withTaskExecutorPreference(executor) { Pace.current != nil }
        #expect(isKnown)
        #expect(Pace.current == nil)
    }
}
