import JSON
import Runtime
import Testing

@Suite("Events", .timeLimit(.minutes(1)))
struct EventsTests {
    @Test("each who follows gets every event once, in order")
    func following() async throws {
        let events = Events()
        let numbers = await withTaskGroup(of: [Int].self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var heard: [Int] = []
                    while let next = await events.next(after: heard.last ?? 0) {
                        if case .events(let found) = next { heard += found.map(\.number) }
                    }
                    return heard
                }
            }
            for number in 0..<500 {
                events.add("test", .integer(number))
                if number % 50 == 0 { await Task.yield() }
            }
            events.close()
            var all: [[Int]] = []
            for await numbers in group { all.append(numbers) }
            return all
        }
        #expect(numbers == Array(repeating: Array(1...500), count: 4))
    }

    @Test("who was away for a while gets what was missed; for too long, is told so")
    func missed() async throws {
        let events = Events()
        for number in 1...5 { events.add("test", .integer(number)) }
        guard case .events(let found)? = await events.next(after: 2) else { throw Unexpected() }
        #expect(found.map(\.number) == [3, 4, 5])
        #expect(await events.next(after: -1) == .missed(last: 5), "of an earlier process")
        #expect(await events.next(after: 6) == .missed(last: 5))
        for number in 0..<(3 * Events.maximum) { events.add("test", .integer(number)) }
        #expect(await events.next(after: 5) == .missed(last: events.last))
        guard case .events(let rest)? = await events.next(after: events.last - Events.maximum) else {
            throw Unexpected()
        }
        #expect(rest.count == Events.maximum)
    }

    @Test("one who waits is kept awake, and ends when cancelled or at the end")
    func waiting() async throws {
        let events = Events()
        let ticked = Task { await events.next(after: 0) }
        while true {
            events.tick()
            await Task.yield()
            if await Self.isDone(ticked) { break }
        }
        #expect(await ticked.value == .nothing)
        let cancelled = Task { await events.next(after: 0) }
        cancelled.cancel()
        #expect(await cancelled.value == nil)
        let closed = Task { await events.next(after: 0) }
        events.close()
        #expect(await closed.value == nil)
    }

    private struct Unexpected: Error {}

    private static func isDone<Value: Sendable>(_ task: Task<Value, Never>) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                _ = await task.value
                return true
            }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(5))
                return false
            }
            return await group.next() ?? false
        }
    }
}
