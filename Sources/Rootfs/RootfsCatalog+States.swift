import ObjectStore
import Runtime
import Synchronization

extension RootfsCatalog {
    /// What was said of a version; nil if nothing ever was: it is available.
    public func versionState(_ stack: StackName, _ version: VersionName) -> VersionState? {
        state.withLock { $0.states[Name(stack: stack, version: version)] }
    }

    public func availability(_ stack: StackName, _ version: VersionName) -> VersionState.Availability {
        versionState(stack, version)?.availability ?? .available
    }

    /// Says what may become of a version, by one conditional write, durable when it returns. Saying the same again
    /// changes nothing.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.contended`; `.rootfsInUse` if it is to be blocked and is current.
    public func setState(
        _ stack: StackName, _ version: VersionName, _ availability: VersionState.Availability, by: String,
        reason: String
    ) async throws(ImageError) -> VersionState {
        // Neither promoted nor removed meanwhile.
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            guard try versions(stack).contains(where: { $0.version == version }) else {
                throw .unknownVersion(stack, version)
            }
            let wanted = VersionState(
                availability: availability, at: Timestamp(nanoseconds: now()), by: by, reason: reason)
            for _ in 0..<Self.maximumAttempts {
                if availability == .blocked, try await storedHistory(stack)?.history.current == version {
                    throw .rootfsInUse(stack, version)
                }
                if let written = try await write(wanted, stack, version) { return written }
            }
            throw .contended(try stateKey(stack, version))
        }
    }

    /// - Throws: `.versionBlocked`.
    func requireNotBlocked(_ stack: StackName, _ version: VersionName) throws(ImageError) {
        if let state = versionState(stack, version), state.availability == .blocked {
            throw .versionBlocked(stack, version, reason: state.reason)
        }
    }

    /// As the store has it now.
    func storedState(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> VersionState? {
        try await stored(stack, version)?.state
    }

    /// One try; nil if somebody else said something meanwhile.
    private func write(
        _ wanted: VersionState, _ stack: StackName, _ version: VersionName
    ) async throws(ImageError) -> VersionState? {
        let key = try stateKey(stack, version)
        let found = try await stored(stack, version)
        let isSaid = found?.state.availability == wanted.availability && found?.state.reason == wanted.reason
        let result = isSaid ? found?.state ?? wanted : wanted
        do {
            if !isSaid {
                try await store.put(key, wanted.bytes, if: found.map { .version($0.version) } ?? .absent)
            }
            try await store.sync()
        } catch .changed, .exists, .missing { return nil } catch { throw .store(error) }
        state.withLock { $0.states[Name(stack: stack, version: version)] = result }
        return result
    }

    private func stored(
        _ stack: StackName, _ version: VersionName
    ) async throws(ImageError) -> (state: VersionState, version: ObjectVersion)? {
        let key = try stateKey(stack, version)
        let object: StoredObject
        do { object = try await store.get(key) } catch .missing { return nil } catch { throw .store(error) }
        return (try VersionState(parsing: object.bytes, at: key), object.info.version)
    }

    private func stateKey(_ stack: StackName, _ version: VersionName) throws(ImageError) -> ObjectKey {
        do { return try VersionState.key(stack, version) } catch { throw .store(error) }
    }
}
