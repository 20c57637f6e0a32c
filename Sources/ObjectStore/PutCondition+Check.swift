extension PutCondition {
    /// Checks the condition.
    /// - Parameter current: the object's version; nil if there is no object.
    /// - Throws: `.exists`, `.missing` or `.changed` if the condition does not hold.
    func check(_ key: ObjectKey, current: ObjectVersion?) throws(ObjectStoreError) {
        switch self {
        case .always:
            return
        case .absent:
            if current != nil { throw .exists(key) }
        case .version(let version):
            guard let current else { throw .missing(key) }
            if current != version { throw .changed(key) }
        }
    }
}
