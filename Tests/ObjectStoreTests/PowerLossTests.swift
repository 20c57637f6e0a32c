import Foundation
import ObjectStore
import Testing

@Suite("Power loss")
struct PowerLossTests {
    /// OBJECT_STORE_SEED looks elsewhere; a failure names the seed of its round.
    static let firstSeed = ProcessInfo.processInfo.environment["OBJECT_STORE_SEED"].flatMap(UInt64.init) ?? 20_260

    @Test(
        "After power cuts everything acknowledged is whole, and the state is a prefix of what was done",
        arguments: 0..<8)
    func survives(batch: Int) async throws {
        for round in 0..<50 {
            let seed = Self.firstSeed + UInt64(batch * 50 + round)
            do { try await PowerLossRound(seed: seed).run() } catch { Issue.record("seed \(seed): \(error)") }
        }
    }

    @Test("On a disk whose flushes fail now and then nothing acknowledged is lost either", arguments: 0..<4)
    func survivesFailedFlushes(batch: Int) async throws {
        for round in 0..<50 {
            let seed = Self.firstSeed + 10_000 + UInt64(batch * 50 + round)
            do {
                try await PowerLossRound(seed: seed, failsFlushes: true).run()
            } catch {
                Issue.record("seed \(seed): \(error)")
            }
        }
    }

    @Test("The test sees a disk that lies about any flush", arguments: SimulatedFileSystem.Flush.allCases)
    func seesLies(flush: SimulatedFileSystem.Flush) async throws {
        for seed in 0..<UInt64(400) {
            do { try await PowerLossRound(seed: seed, ignored: [flush]).run() } catch { return }
        }
        Issue.record("nothing was lost in 400 rounds without flushing \(flush)")
    }
}
