package import ObjectStore

/// Reads all small objects below a prefix, a page at a time.
/// - Parameter wants: says of a key whether it is read.
package func forEachObject(
    in store: any ObjectStore, prefix: String, where wants: (ObjectKey) -> Bool = { _ in true },
    _ body: (StoredObject) throws(ImageError) -> Void
) async throws(ImageError) {
    var last: String?
    while true {
        let page: [ObjectInfo]
        do { page = try await store.list(prefix: prefix, startAfter: last, limit: 1000) } catch { throw .store(error) }
        for info in page where wants(info.key) {
            let object: StoredObject
            do { object = try await store.get(info.key) } catch .missing { continue } catch { throw .store(error) }
            try body(object)
        }
        guard page.count == 1000 else { return }
        last = page.last?.key.text
    }
}
