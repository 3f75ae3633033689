--- Where pictures go, and how a link leads from a buffer's file to them.
local config = require("imgd.config")
local M = {}

--- The path with `.` and `..` resolved by the text alone; absolute.
local function absolute(path, base)
  if path:sub(1, 2) == "~/" then
    path = vim.loop.os_homedir() .. path:sub(2)
  elseif path:sub(1, 1) ~= "/" then
    path = base .. "/" .. path
  end
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end
M.absolute = absolute

--- The folder of a buffer's file; the current folder where it has none, or one of another kind (`scp://…`).
function M.of_buffer(buffer)
  local valid = vim.api.nvim_buf_is_valid(buffer)
  local name = valid and vim.api.nvim_buf_get_name(buffer) or ""
  if name == "" or name:match("^%a[%w+.-]*://") or vim.bo[buffer].buftype ~= "" then
    return vim.fn.getcwd()
  end
  return vim.fn.fnamemodify(name, ":p:h")
end

--- The folder that pictures of a buffer go to, made if it has to be. Returns nil and an error where it cannot.
function M.for_pictures(buffer)
  local base = M.of_buffer(buffer)
  local folder = config.values.folder and absolute(config.values.folder, base) or base
  local made, why = pcall(vim.fn.mkdir, folder, "p")
  if not made or vim.fn.isdirectory(folder) == 0 then
    local reason = tostring(why):match("E%d+: .*") or "it is no folder"
    return nil, { message = ("cannot write into `%s`: %s"):format(folder, reason), hint = "save the file first, or set `folder`" }
  end
  return folder
end

--- `path` as seen from `folder`, both absolute: `images/a.png`, `../a.png`.
function M.relative(path, folder)
  local from, to = {}, {}
  for part in folder:gmatch("[^/]+") do
    from[#from + 1] = part
  end
  for part in path:gmatch("[^/]+") do
    to[#to + 1] = part
  end
  local same = 0
  while same < #from and same < #to - 1 and from[same + 1] == to[same + 1] do
    same = same + 1
  end
  if same == 0 and #from > 0 then
    return path
  end
  local parts = {}
  for _ = same + 1, #from do
    parts[#parts + 1] = ".."
  end
  vim.list_extend(parts, to, same + 1)
  return table.concat(parts, "/")
end

return M
