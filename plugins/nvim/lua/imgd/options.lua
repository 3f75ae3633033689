--- `model=starter steps=20 -- a red apple`: options as words, then the prompt.
local paths = require("imgd.paths")
local M = {}

--- The options: a flag of `imgctl generate` each. `file` is a path, `many` may be given again, `switch` takes `yes`.
M.known = {
  model = { flag = "--model" },
  size = { flag = "--size" },
  width = { flag = "--width" },
  height = { flag = "--height" },
  steps = { flag = "--num-inference-steps" },
  guidance = { flag = "--guidance-scale" },
  seed = { flag = "--seed" },
  n = { flag = "--num-images" },
  sampler = { flag = "--sampler" },
  schedule = { flag = "--schedule" },
  negative = { flag = "--negative-prompt" },
  style = { flag = "--style", many = true },
  lora = { flag = "--lora", many = true },
  control = { flag = "--control", many = true },
  vae = { flag = "--vae", file = true },
  init = { flag = "--init-image", file = true },
  strength = { flag = "--strength" },
  mask = { flag = "--mask", file = true },
  mask_blur = { flag = "--mask-blur" },
  only_masked = { flag = "--only-masked", switch = true },
  extend = { flag = "--extend" },
  ref = { flag = "--ref-image", file = true, many = true },
  hires_scale = { flag = "--hires-scale" },
  hires_strength = { flag = "--hires-strength" },
  hires_steps = { flag = "--hires-steps" },
  variation_strength = { flag = "--variation-strength" },
  variation_seed = { flag = "--variation-seed" },
  clip_skip = { flag = "--clip-skip" },
  prompt_syntax = { flag = "--prompt-syntax" },
  precision = { flag = "--precision" },
  format = { flag = "--format" },
  priority = { flag = "--priority" },
  keep_alive = { flag = "--keep-alive" },
  timeout = { flag = "--timeout" },
  private = { flag = "--private", switch = true },
}

--- The names in order.
function M.names()
  local names = vim.tbl_keys(M.known)
  table.sort(names)
  return names
end

--- Takes the first word of `text`: `"a b"` and `'a b'` keep blanks, also behind `name=`. Returns the word and the rest.
local function word(text)
  local out, at, quote = {}, 1, nil
  while at <= #text do
    local char = text:sub(at, at)
    if quote then
      if char == quote then
        quote = nil
      else
        out[#out + 1] = char
      end
    elseif char:match("%s") then
      break
    elseif (char == '"' or char == "'") and text:sub(at - 1, at - 1) == "=" then
      quote = char
    else
      out[#out + 1] = char
    end
    at = at + 1
  end
  return table.concat(out), (text:sub(at):gsub("^%s+", "")), quote
end

--- How many letters have to be changed, added or taken away to make one word of another.
local function distance(from, to)
  local row = {}
  for at = 0, #to do
    row[at] = at
  end
  for i = 1, #from do
    local corner = row[0]
    row[0] = i
    for j = 1, #to do
      local same = from:byte(i) == to:byte(j) and 0 or 1
      corner, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, corner + same)
    end
  end
  return row[#to]
end

--- The option whose name is nearest, if it is near.
local function alike(name)
  local best, least = nil, math.min(3, #name)
  for _, known in ipairs(M.names()) do
    local letters = distance(name, known)
    if letters < least then
      best, least = known, letters
    end
  end
  return best
end

--- One option as a flag of imgctl, or nil and what is wrong.
local function flag(name, value, folder)
  local option = M.known[name]
  if not option then
    local meant = alike(name)
    local hint = meant and ("did you mean `%s`?"):format(meant) or ("options are %s."):format(table.concat(M.names(), ", "))
    hint = hint .. " A prompt that begins so needs `--` before it"
    return nil, { message = ("option `%s` is not known"):format(name), hint = hint }
  end
  if value == "" then
    return nil, ("option `%s` needs a value: %s=…"):format(name, name)
  end
  if option.switch and (value == "yes" or value == true) then
    return option.flag
  end
  if name == "private" then
    return nil, "option `private` takes `yes` alone"
  end
  if option.file then
    value = paths.absolute(value, folder)
  end
  return option.flag .. "=" .. tostring(value)
end

--- Splits a command's arguments. `preset` are options that hold unless the text says otherwise; paths are seen from `folder`.
--- Returns { flags, prompt, given }, where `given` has the values by name; or nil and what is wrong.
function M.parse(text, preset, folder)
  local given = {}
  local rest = text:gsub("^%s+", "")
  while rest ~= "" do
    local first, behind, open = word(rest)
    if first == "--" then
      rest = behind
      break
    end
    local name, value = first:match("^(%l[%l_-]*)=(.*)$")
    if not name then
      break
    end
    if open then
      return nil, ("option `%s` has an open quotation mark"):format(name)
    end
    name = name:gsub("-", "_")
    local many = M.known[name] and M.known[name].many
    given[name] = many and given[name] or {}
    table.insert(given[name], value)
    rest = behind
  end
  for name, value in pairs(preset or {}) do
    given[name] = given[name] or (type(value) == "table" and value or { value })
  end
  local names, flags = vim.tbl_keys(given), {}
  table.sort(names)
  for _, name in ipairs(names) do
    for _, value in ipairs(given[name]) do
      local one, problem = flag(name, value, folder)
      if not one then
        return nil, problem
      end
      flags[#flags + 1] = one
    end
  end
  return { flags = flags, prompt = (rest:gsub("%s+$", "")), given = given }
end

return M
