// Objects as files below a folder.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "lake/object_store.h"

namespace millrace {

/// The key is the path below the root. What plain programs see is whole objects only:
///
/// - A new object is written to a file without name (O_TMPFILE) and linked to its place, which
///   fails when something stands there. Where the file system has no such files, and for objects
///   that replace others, the bytes first go to `.millrace-tmp/` at the root, which is there only
///   while something is being written; what a killed process left in it is removed later (its owner
///   held a lock on it that died with it).
/// - File and folders are flushed (fsync) before a call returns.
/// - Conditions hold between processes of one machine (flock on the root); on network file systems
///   as far as they support flock and link.
///
/// Keys whose first segment is `.millrace-tmp` are refused, and so are segments of more than 255
/// bytes, `invalid` both. Links to folders are followed.
///
/// Threads: any.
class DiskObjectStore final : public ObjectStore {
 public:
  struct Options {
    bool nameless_files = true;  // false: as on a file system without O_TMPFILE
  };

  /// `root` is an absolute path; it is made with the first object.
  explicit DiskObjectStore(std::string root, Options options = {.nameless_files = true});

  Result<std::string> put(const std::string& key, std::string_view bytes,
                          const PutIf& condition) override;
  Result<ObjectBytes> get(const std::string& key) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<std::unique_ptr<ObjectReader>> open(const std::string& key) override;
  Result<std::unique_ptr<ObjectWriter>> create(const std::string& key) override;
  /// Reads only the folders that the page's keys lie in, and those on the way to them.
  Result<ObjectPage> list(const std::string& prefix, const std::string& after,
                          std::size_t objects_max) override;
  /// Folders that become empty stay.
  Status remove(const std::string& key) override;
  [[nodiscard]] std::string url_of(const std::string& key) const override;

 private:
  class Writer;
  class TemporaryFile;

  [[nodiscard]] std::string path_of(const std::string& key) const { return root_ + "/" + key; }
  Status make_folders(const std::string& key);
  Status sync_folder_of(const std::string& key);
  Result<std::string> put_new(const std::string& key, std::string_view bytes);
  Result<std::string> replace_by(TemporaryFile& file, const std::string& key,
                                 const PutIf& condition);
  void remove_leftovers();

  std::string root_;
  Options options_;
  std::once_flag leftovers_removed_{};
  // Guards the folders known to be durable; calls come from any thread.
  std::mutex mutex_{};
  std::set<std::string> durable_folders_{};
};

}  // namespace millrace
