import Droplets
import Images
import ImagesTesting
import Rootfs
import TestSupport
import Testing

@Suite("Counting droplets")
struct DropletCountTests {
    private static func count(_ house: TestHouse) async throws -> Int {
        try await house.droplets.counts()[try StackName(TestHouse.stack)]?[.amd64] ?? 0
    }

    @Test("the count follows uploads and removals, and a droplet that comes twice counts once")
    func follows() async throws {
        let house = try await TestHouse()
        #expect(try await Self.count(house) == 0)
        let first = try await house.upload("a", .droplet("one"))
        #expect(try await Self.count(house) == 1)
        for guid in ["a", "b"] { try await house.upload(guid, .droplet("one")) }
        try await house.upload("a", .droplet("two"))
        #expect(try await Self.count(house) == 3)
        try await house.droplets.remove(first.guid, .sha256(first.hash))
        #expect(try await Self.count(house) == 2)
        #expect(try await Self.count(try await TestHouse(store: house.store)) == 2, "counted anew")
    }

    @Test("what changes while it is counted for the first time is counted once")
    func changing() async throws {
        for round in 0..<20 {
            let first = try await TestHouse()
            var records: [DropletRecord] = []
            for number in 0..<30 { records.append(try await first.upload("app-\(number)", .droplet("\(number)"))) }
            let house = try await TestHouse(store: first.store)
            let gone = records.prefix(10)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await Self.count(house) }
                group.addTask {
                    for record in gone { try await house.droplets.remove(record.guid, .sha256(record.hash)) }
                }
                group.addTask {
                    for number in 0..<10 { try await house.upload("new-\(number)", .droplet("new \(number)")) }
                }
                try await group.waitForAll()
            }
            #expect(try await Self.count(house) == 30, "round \(round)")
        }
    }
}
