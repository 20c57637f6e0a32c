import ObjectStore
import Records
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
            let stored = try await records.update(
                try stateKey(stack, version), as: VersionState.self, replacingDamaged: true
            ) { (found) throws(ImageError) in
                if availability == .blocked, try await storedHistory(stack)?.current == version {
                    throw .rootfsInUse(stack, version)
                }
                let isSaid = found?.value.availability == wanted.availability && found?.value.reason == wanted.reason
                return isSaid ? .keep : .write(wanted)
            }
            try await records.sync()
            let state = stored?.value ?? wanted
            self.state.withLock { $0.states[Name(stack: stack, version: version)] = state }
            return state
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
        try await records.read(try stateKey(stack, version), as: VersionState.self)?.value
    }

    private func stateKey(_ stack: StackName, _ version: VersionName) throws(ImageError) -> ObjectKey {
        do { return try VersionState.key(stack, version) } catch { throw .store(error) }
    }
}
