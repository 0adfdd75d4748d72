#include "cli/status_server.h"

#include <fmt/format.h>
#include <httplib.h>

#include <charconv>
#include <thread>
#include <utility>

namespace millrace {
namespace {

constexpr std::size_t kThreads = 4;
constexpr std::size_t kRequestBytesMax = 16u << 10;

// Plain on purpose: it reads /status once a second and shows it; nothing is loaded from elsewhere.
constexpr const char* kPage = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>millrace</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1c2630;background:#fbfaf7}
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid #e4e0d6;vertical-align:top}
th{font-weight:600}.bad{color:#a4262c}.good{color:#1d6f42}code{font-size:.9em}
</style></head><body><h1>millrace <span id="state"></span></h1><div id="out">reading…</div>
<p><a href="/status">/status</a> · <a href="/metrics">/metrics</a> · <a href="/healthz">/healthz</a> · <a href="/readyz">/readyz</a></p>
<script>
const cell=(tag,text)=>{const e=document.createElement(tag);e.textContent=text;return e};
const rows=(value,prefix)=>Object.entries(value).flatMap(([k,v])=>
  v!==null&&typeof v==='object'&&!Array.isArray(v)?rows(v,prefix+k+' › '):[[prefix+k,v]]);
const table=list=>{const t=document.createElement('table');const keys=[...new Set(list.flatMap(o=>Object.keys(o)))];
  const head=document.createElement('tr');keys.forEach(k=>head.append(cell('th',k.replaceAll('_',' '))));t.append(head);
  list.forEach(o=>{const r=document.createElement('tr');keys.forEach(k=>r.append(cell('td',typeof o[k]==='object'?JSON.stringify(o[k]):o[k]??'')));t.append(r)});return t};
async function look(){
  const state=document.getElementById('state'),out=document.getElementById('out');
  try{
    const s=await (await fetch('/status')).json();const ready=await fetch('/readyz');
    state.textContent=ready.ok?'ready':'not ready: '+await ready.text();state.className=ready.ok?'good':'bad';
    out.replaceChildren();
    for(const [name,section] of Object.entries(s)){
      if(section===null||typeof section!=='object'){continue}
      out.append(cell('h2',name));const t=document.createElement('table'),lists=[];
      rows(section,'').forEach(([k,v])=>{if(Array.isArray(v)&&v.length&&typeof v[0]==='object'){lists.push([k,v]);return}
        const r=document.createElement('tr');r.append(cell('th',k.replaceAll('_',' ')),cell('td',Array.isArray(v)?v.join(', '):v));t.append(r)});
      out.append(t);lists.forEach(([k,v])=>{out.append(cell('h2',name+' › '+k));out.append(table(v))});
    }
  }catch(e){state.textContent='no answer';state.className='bad'}
  setTimeout(look,1000)}
look();
</script></body></html>
)html";

}  // namespace

struct StatusServer::Inside {
  httplib::Server server{};
  std::thread thread{};
  int port = 0;
};

StatusServer::StatusServer(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

StatusServer::~StatusServer() {
  inside_->server.stop();
  inside_->thread.join();
}

int StatusServer::port() const { return inside_->port; }

Result<std::unique_ptr<StatusServer>> StatusServer::start(const std::string& listen,
                                                          StatusSources sources) {
  const std::size_t colon = listen.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* const end = listen.data() + listen.size();
    const auto [stop, error] = std::from_chars(listen.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end) port = -1;
  }
  if (port < 0 || port > 65535)
    return fail(ErrorKind::invalid, fmt::format("server.listen: \"{}\" is not host:port", listen));
  std::string host = listen.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);

  auto inside = std::make_unique<Inside>();
  httplib::Server& server = inside->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_payload_max_length(kRequestBytesMax);
  server.set_keep_alive_max_count(1000);
  // Without this two servers share one port silently (cpp-httplib sets SO_REUSEPORT by default).
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.Get("/", [](const httplib::Request&, httplib::Response& reply) {
    reply.set_content(kPage, "text/html; charset=utf-8");
  });
  server.Get("/metrics", [sources](const httplib::Request&, httplib::Response& reply) {
    reply.set_content(sources.metrics(), "text/plain; version=0.0.4");
  });
  server.Get("/status", [sources](const httplib::Request&, httplib::Response& reply) {
    reply.set_content(sources.status(), "application/json");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& reply) {
    reply.set_content("ok\n", "text/plain");
  });
  server.Get("/readyz", [sources](const httplib::Request&, httplib::Response& reply) {
    const std::vector<std::string> reasons = sources.unready();
    reply.status = reasons.empty() ? 200 : 503;
    reply.set_content(reasons.empty() ? "ready\n" : fmt::format("{}\n", fmt::join(reasons, "\n")),
                      "text/plain");
  });

  const bool bound = port == 0 ? (inside->port = server.bind_to_any_port(host)) > 0
                               : server.bind_to_port(host, port);
  if (!bound) {
    return fail(
        ErrorKind::conflict,
        fmt::format("server.listen: {} cannot be listened on: is another millrace running there? "
                    "Choose another port, or server: {{ listen: \"\" }} for no server",
                    listen));
  }
  if (port != 0) inside->port = port;
  inside->thread = std::thread([&server] { server.listen_after_bind(); });
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(inside)));
}

}  // namespace millrace
