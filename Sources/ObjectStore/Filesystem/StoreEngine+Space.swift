import Logging
import Runtime
import Synchronization

/// Handling a full disk: a reserve file is removed so that deletes and the journal go on, and made again later.
extension StoreEngine {
    /// How many bytes a change needs beyond its content, for directories and the like.
    private static let slack: Int64 = 64 << 10

    /// Checks that there is room for new content, the reserve not counted.
    /// - Throws: `.full`, `.permission`.
    func checkSpace(for bytes: Int) throws(ObjectStoreError) {
        let space = try withStoreErrors { () throws(FileSystemError) in try files.space() }
        if space.isReadOnly { throw .permission("the file system is read-only") }
        let missing = monitor.withLock { $0.hasReserve } ? 0 : Int64(options.reserveBytes)
        if !space.hasFreeFiles || space.bytes < Int64(bytes) + Self.slack + missing { throw .full }
    }

    /// How often the reserve was given up. Read this before an attempt that may need the reserve, for `giveUpReserve`.
    var reservesGivenUp: Int { monitor.withLock { $0.reservesGivenUp } }

    /// Frees the reserve's space after an attempt found the disk full.
    /// - Parameter count: `reservesGivenUp` before that attempt.
    /// - Returns: whether it is worth trying again: this call gave the reserve up, or the other thread (of flusher and
    ///   applier) has done so since the attempt began.
    func giveUpReserve(since count: Int) -> Bool {
        // A second caller waits until the first one has really freed the space.
        givingUpReserve.withLock { _ in
            let (had, given) = monitor.withLock { state in
                let had = state.hasReserve
                state.hasReserve = false
                if had { state.reservesGivenUp += 1 }
                return (had, state.reservesGivenUp)
            }
            return had ? removeReserve() : given > count
        }
    }

    private func removeReserve() -> Bool {
        guard options.reserveBytes > 0 else { return false }
        logger.warning("the disk is full; the store gives up its reserve so that deletes go on")
        do throws(FileSystemError) {
            try files.remove(StorePaths.reserve)
            files.settle()
            return true
        } catch {
            return false
        }
    }

    /// Makes the reserve again if it was given up and there is room.
    func restoreReserve() {
        guard options.reserveBytes > 0, !monitor.withLock({ $0.hasReserve }),
            let space = try? files.space(), !space.isReadOnly, space.hasFreeFiles,
            space.bytes >= Int64(options.reserveBytes) + 2 * Self.slack
        else { return }
        do throws(FileSystemError) {
            try files.removeIfThere(StorePaths.reserve)
            let file = try files.open(StorePaths.reserve, .create)
            defer { files.close(file) }
            try files.allocate(file, size: Int64(options.reserveBytes))
            monitor.withLock { $0.hasReserve = true }
        } catch {
            try? files.removeIfThere(StorePaths.reserve)
        }
    }
}
